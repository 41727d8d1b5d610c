//! The last layer for selected tokens. Masked language modelling reads only the tokens to predict,
//! so the token-wise part of the last layer runs on those alone.

use burn::tensor::Tensor;

use super::Encoder;
use super::tokens::chosen;
use crate::model::batch::Batch;
use crate::model::noise::Noise;

impl Encoder {
    /// The states of the tokens at `positions`, which are row-major indices into the batch.
    ///
    /// # Shapes
    ///
    /// Result: `[positions, hidden]`.
    pub fn chosen(&self, batch: &Batch, positions: &[usize], noise: Option<&Noise>) -> Tensor<2> {
        let (narrow, batch) = (batch.width, &self.widened(batch));
        let wide = |position: &usize| position / narrow * batch.width + position % narrow;
        let positions: Vec<usize> = positions.iter().map(wide).collect();
        let pass = self.sending_pass(batch, noise);
        let states = self.below_last(batch, &pass);
        let states = match self.layers.last() {
            Some(last) => last.forward_chosen(states, &positions, &pass),
            None => chosen(states, &positions),
        };
        self.finished(states)
    }

    /// The table of word embeddings `[vocabulary, hidden]`, which an output layer may share.
    pub fn words(&self) -> &Tensor<2> {
        &self.embeddings.words
    }
}

//! The last layer for selected tokens. Masked language modelling reads only the tokens to predict,
//! so the token-wise part of the last layer runs on those alone.

use burn::tensor::{Int, Tensor, TensorData};

use super::{Encoder, Layer, Pass};
use crate::model::batch::Batch;
use crate::model::noise::Noise;

impl Encoder {
    /// The states of the tokens at `positions`, which are row-major indices into the batch.
    ///
    /// # Shapes
    ///
    /// Result: `[positions, hidden]`.
    pub fn chosen(&self, batch: &Batch, positions: &[usize], noise: Option<&Noise>) -> Tensor<2> {
        let pass = self.pass(batch, noise);
        let mut states = self.embeddings.forward(batch, &pass);
        let Some((last, below)) = self.layers.split_last() else {
            return chosen(states, positions);
        };
        for layer in below {
            states = layer.forward(states, batch.width, &pass);
        }
        last.forward_chosen(states, positions, &pass)
    }

    /// The table of word embeddings `[vocabulary, hidden]`, which an output layer may share.
    pub fn words(&self) -> &Tensor<2> {
        &self.embeddings.words
    }
}

impl Layer {
    /// `[rows, width, hidden]` to `[positions, hidden]`.
    fn forward_chosen(&self, states: Tensor<3>, positions: &[usize], pass: &Pass) -> Tensor<2> {
        let [rows, width, hidden] = states.dims();
        let alone =
            |states: Tensor<3>| chosen(states, positions).reshape([positions.len(), 1, hidden]);
        let attended = alone(self.attend(states.clone(), states.clone(), pass));
        let output = self.transform(attended, alone(states), pass, |site| {
            let mask = pass.mask(site, rows, pass.rates.hidden);
            mask.map(|mask| mask.of_tokens(positions, width, hidden))
        });
        output.reshape([positions.len(), hidden]) // from [positions, 1, hidden]
    }
}

/// `[rows, width, hidden]` to `[positions, hidden]`.
fn chosen(states: Tensor<3>, positions: &[usize]) -> Tensor<2> {
    let [rows, width, hidden] = states.dims();
    let indices: Vec<i32> = positions.iter().map(|position| *position as i32).collect();
    let indices = TensorData::new(indices, [positions.len()]);
    let indices = Tensor::<1, Int>::from_data(indices, &states.device());
    states.reshape([rows * width, hidden]).select(0, indices)
}

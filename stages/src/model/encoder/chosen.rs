//! The last layer's states of some tokens only, which is all that masked language modelling
//! reads: what the last layer does to each token by itself is done to these alone.

use burn::tensor::{Int, Tensor, TensorData};

use super::{Encoder, Layer, Pass};
use crate::model::batch::Batch;
use crate::model::cpu::attention::Setting;
use crate::model::noise::{Noise, Site};
use crate::model::ops;

impl Encoder {
    /// The states of the tokens at `positions`, counted through the batch row by row.
    ///
    /// # Shapes
    ///
    /// Result: `[positions, hidden]`.
    pub fn chosen(&self, batch: &Batch, positions: &[usize], noise: Option<&Noise>) -> Tensor<2> {
        let pass = self.pass(batch, noise);
        let mut states = self.embeddings.forward(batch, self.rates.hidden, noise);
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
        let (layer, precision) = (self.index, pass.precision);
        let query = self.query.forward(states.clone(), precision);
        let key = self.key.forward(states.clone(), precision);
        let value = self.value.forward(states.clone(), precision);
        let site = Site::AttentionProbabilities { layer };
        let setting = Setting {
            heads: pass.heads,
            padding: pass.padding.clone(),
            mask: pass.mask(site, rows, pass.rates.attention),
            precision,
        };
        let attended = ops::attention(query, key, value, pass.relative.as_ref(), setting);
        let alone =
            |states: Tensor<3>| chosen(states, positions).reshape([positions.len(), 1, hidden]);
        let (attended, states) = (alone(attended), alone(states));
        let mask = |site| {
            let mask = pass.mask(site, rows, pass.rates.hidden);
            mask.map(|mask| mask.of_tokens(positions, width, hidden))
        };
        let attended = self.attention_output.forward(attended, precision);
        let mask_here = mask(Site::AttentionOutput { layer });
        let attended = self.attention_norm.after(attended, states, mask_here);
        let wide = ops::gelu(self.intermediate.forward(attended.clone(), precision));
        let output = self.output.forward(wide, precision);
        let output = self.output_norm.after(output, attended, mask(Site::FeedForward { layer }));
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

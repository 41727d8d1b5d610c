//! The embeddings: words, positions and token types.

use burn::tensor::{Device, Int, Tensor, TensorData, assert_shape};

use super::layer::Pass;
use super::norm::LayerNorm;
use crate::model::batch::Batch;
use crate::model::config::{Family, ModelConfig};
#[cfg(feature = "device")]
use crate::model::device::{self, inputs::Inputs};
use crate::model::noise::Site;
#[cfg(feature = "device")]
use crate::model::noise::{Mask, Noise};
use crate::model::ops;
use crate::model::parameters::{Parameter, ParameterSource, table};

/// Words, positions and token types, summed and normalised.
#[derive(Clone, Debug)]
pub(super) struct Embeddings {
    pub(super) words: Tensor<2>,
    positions: Tensor<2>,
    types: Option<Tensor<2>>,
    norm: LayerNorm,
    /// The position of padding in RoBERTa and MPNet, whose tokens count from the next one. `None`
    /// for BERT, which counts all tokens from 0.
    positions_after_pad: Option<usize>,
    pad: usize,
}

impl Embeddings {
    pub(super) fn new(
        config: &ModelConfig,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Embeddings {
        let hidden = config.hidden_size;
        let mut of = |name: &str, entries: usize| {
            table(
                source,
                &format!("embeddings.{name}_embeddings.weight"),
                [entries, hidden],
                device,
            )
        };
        let words = of("word", config.vocab_size);
        let positions = of("position", config.max_position_embeddings);
        let types = (config.type_vocab_size > 0).then(|| of("token_type", config.type_vocab_size));
        let norm =
            LayerNorm::new(source, "embeddings.LayerNorm", hidden, config.layer_norm_eps, device);
        let positions_after_pad = (config.family != Family::Bert).then_some(config.pad_token_id);
        Embeddings { words, positions, types, norm, positions_after_pad, pad: config.pad_token_id }
    }

    /// # Shapes
    ///
    /// Result: `[rows, width, hidden]`.
    pub(super) fn forward(&self, batch: &Batch, pass: &Pass) -> Tensor<3> {
        let mask = pass.mask(Site::Embeddings, batch.rows, pass.rates.hidden);
        #[cfg(feature = "device")]
        if let Some(inputs) = &pass.inputs {
            return self.forward_on_gpu(inputs, mask);
        }
        let device = self.words.device();
        let (rows, width) = (batch.rows, batch.width);
        let hidden = self.words.dims()[1];
        let indices = |values: Vec<i32>| {
            Tensor::<2, Int>::from_data(TensorData::new(values, [rows, width]), &device)
        };
        let words = burn::tensor::module::embedding(self.words.clone(), indices(batch.ids.clone()));
        let mut states = words;
        if let Some(types) = &self.types {
            states = states
                + match &batch.types {
                    Some(ids) => {
                        burn::tensor::module::embedding(types.clone(), indices(ids.clone()))
                    }
                    None => types.clone().narrow(0, 0, 1).reshape([1, 1, hidden]),
                };
        }
        let positions = match self.positions_after_pad {
            // [rows, width]: positions depend on the padding.
            Some(start) => {
                let positions = indices(positions_after_pad(batch, self.pad, start));
                burn::tensor::module::embedding(self.positions.clone(), positions)
            }
            None => self.positions.clone().narrow(0, 0, width).reshape([1, width, hidden]),
        };
        assert_shape!(states, [rows, width, hidden]);
        let states = self.norm.forward(states + positions);
        ops::dropout(states, mask.as_ref())
    }

    /// What a pass over `batch` sends to the device, if that is a GPU.
    #[cfg(feature = "device")]
    pub(super) fn inputs(
        &self,
        batch: &Batch,
        noise: Option<&Noise>,
        layers: usize,
    ) -> Option<Inputs> {
        let positions = match self.positions_after_pad {
            Some(start) => positions_after_pad(batch, self.pad, start),
            None => (0..batch.rows).flat_map(|_| 0..batch.width as i32).collect(),
        };
        let types = batch.types.clone().filter(|_| self.types.is_some());
        let types = types.unwrap_or_else(|| vec![0; batch.ids.len()]);
        Inputs::new(&self.words, batch, [positions, types], noise, layers)
    }

    #[cfg(feature = "device")]
    fn forward_on_gpu(&self, inputs: &Inputs, mask: Option<Mask>) -> Tensor<3> {
        let zeros = || Tensor::zeros([1, self.words.dims()[1]], &self.words.device());
        let types = self.types.clone().unwrap_or_else(zeros);
        let (weight, bias, eps) = self.norm.parameters();
        let tables = [&self.words, &self.positions, &types];
        let states = device::embeddings::embeddings(tables, [weight, bias], eps, inputs, mask);
        states.unwrap_or_else(|| unreachable!("the inputs are on a GPU"))
    }

    pub(super) fn collect<'a>(&'a mut self, into: &mut Vec<(String, Parameter<'a>)>) {
        let name = |table: &str| format!("embeddings.{table}_embeddings.weight");
        into.push((name("word"), Parameter::Table(&mut self.words)));
        into.push((name("position"), Parameter::Table(&mut self.positions)));
        if let Some(types) = &mut self.types {
            into.push((name("token_type"), Parameter::Table(types)));
        }
        self.norm.collect("embeddings.LayerNorm", into);
    }
}

/// RoBERTa's positions: `cumsum(id ≠ pad) · (id ≠ pad) + pad`.
fn positions_after_pad(batch: &Batch, pad: usize, start: usize) -> Vec<i32> {
    let mut positions = Vec::with_capacity(batch.ids.len());
    for row in batch.ids.chunks(batch.width.max(1)) {
        let mut count = 0;
        for id in row {
            let real = *id != pad as i32;
            count += i32::from(real);
            positions.push(if real { count } else { 0 } + start as i32);
        }
    }
    positions
}

//! An encoder with the output layer of masked language modelling: dense, activation, layer norm, and
//! a projection to the vocabulary whose weight is the table of word embeddings. The names are those
//! of [`crate::family::MaskedLmNames`].

use burn::tensor::{Device, Tensor, TensorData, activation, assert_shape};

use super::affine::{Affine, Weight};
use super::batch::Batch;
use super::config::ModelConfig;
use super::cpu;
#[cfg(feature = "device")]
use super::device::weights::Copies;
use super::encoder::norm::{LayerNorm, NormShape};
use super::encoder::{DropoutRates, Encoder};
use super::noise::Noise;
use super::ops::{self, Factor};
use super::parameters::{Linear, Network, Parameter, ParameterSource, Start, vector};
use super::precision::Precision;
use crate::family::{Activation, Family};

/// A masked language model.
#[derive(Clone, Debug)]
pub struct MaskedLm {
    family: &'static Family,
    encoder: Encoder,
    dense: Linear,
    activation: Activation,
    norm: LayerNorm,
    /// `[vocabulary]`
    bias: Tensor<1>,
    /// The pooler of a BERT, neither used nor trained. It is kept for classifiers that start from
    /// this model.
    pooler: Option<Linear>,
    precision: Precision,
}

/// The tokens to predict in a masked batch.
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// Row-major indices into the batch.
    pub positions: &'a [usize],
    /// The ids before masking.
    pub ids: &'a [u32],
}

impl MaskedLm {
    /// Builds the model that `config` describes from `source`; `pooler` keeps the
    /// pooler.
    pub fn new(
        config: &ModelConfig,
        rates: DropoutRates,
        precision: Precision,
        pooler: bool,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> MaskedLm {
        let (hidden, size) = (config.hidden_size, config.embedding.size);
        let (family, names, form) = (config.family, &config.family.masked_lm, &config.form);
        let shape = NormShape { size, eps: form.layer_norm_eps, has_bias: form.biases.norms };
        let pooler_name = family.pooler().filter(|_| pooler);
        MaskedLm {
            family,
            encoder: Encoder::new(config, rates, precision, source, device),
            norm: LayerNorm::new(source, names.norm, shape, device),
            dense: Linear::with_bias(source, names.dense, [hidden, size], form.biases.head, device),
            activation: form.masked_lm_activation,
            bias: vector(source, names.bias, config.vocab_size, Start::Zeros, device),
            pooler: pooler_name.map(|name| Linear::new(source, name, [hidden, hidden], device)),
            precision,
        }
    }

    /// Cross-entropy of the targets, summed and multiplied by `scale`. Dropout is
    /// active if `noise` is given. `batch` holds the masked ids; there must be at least one target.
    ///
    /// # Shapes
    ///
    /// Result: `[1]`.
    pub fn loss(
        &self,
        batch: &Batch,
        targets: Targets,
        scale: f64,
        noise: Option<&Noise>,
    ) -> Tensor<1> {
        let states = self.encoder.chosen(batch, targets.positions, noise);
        assert_shape!(states, [targets.ids.len(), _]);
        let states = ops::activated(self.dense.forward(states, self.precision), self.activation);
        let states = self.norm.forward(states);
        let words = self.encoder.words();
        let (bias, precision) = (&self.bias, self.precision);
        let fused =
            cpu::vocabulary::cross_entropy(&states, words, bias, targets.ids, scale, precision);
        fused.unwrap_or_else(|| {
            let output = Affine {
                weight: Weight::Floats(Box::new(words.clone().transpose())),
                bias: self.bias.clone(),
            };
            let logits = ops::linear(states, &output, &Factor::default(), self.precision);
            let logarithms = activation::log_softmax(logits, 1); // [positions, vocabulary]
            let ids: Vec<i32> = targets.ids.iter().map(|id| *id as i32).collect();
            let ids = TensorData::new(ids, [targets.ids.len(), 1]);
            let ids = Tensor::from_data(ids, &logarithms.device());
            ops::total(logarithms.gather(1, ids)) * -scale
        })
    }
}

impl Network for MaskedLm {
    fn parameters(&mut self) -> Vec<(String, Parameter<'_>)> {
        let names = &self.family.masked_lm;
        let mut all = self.encoder.parameters();
        self.dense.collect(names.dense, &mut all);
        self.norm.collect(names.norm, &mut all);
        all.push((names.bias.to_owned(), Parameter::Vector(&mut self.bias)));
        if let (Some(pooler), Some(name)) = (&mut self.pooler, self.family.pooler()) {
            pooler.collect(&format!("{}{name}", self.family.prefix), &mut all);
        }
        all
    }

    #[cfg(feature = "device")]
    fn copies(&self) -> Option<Copies> {
        self.encoder.copies()
    }
}

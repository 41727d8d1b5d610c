//! An encoder with a head for sequence classification: dense, activation, in ModernBERT a norm, and
//! a linear layer with an output for each class. [`crate::family::HeadNames`] has the names.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};

use super::batch::Batch;
use super::config::{ModelConfig, Pooling};
#[cfg(feature = "device")]
use super::device::{
    inputs::{Extras, Inputs, Numbers},
    weights::Copies,
};
use super::encoder::norm::{LayerNorm, NormShape};
use super::encoder::{DropoutRates, Encoder, Pass};
use super::noise::{Mask, Noise, Site};
use super::ops;
use super::parameters::{Linear, Network, Parameter, ParameterSource};
use super::precision::Precision;
use crate::family::{Activation, Family, InputDropout};
use crate::stage::error::StageError;

/// A classifier over the labels of its config.
#[derive(Clone, Debug)]
pub struct Classifier {
    family: &'static Family,
    encoder: Encoder,
    pooling: Pooling,
    head: Head,
    precision: Precision,
}

#[derive(Clone, Debug)]
struct Head {
    dense: Linear,
    activation: Activation,
    norm: Option<LayerNorm>,
    output: Linear,
    /// The dropout rates before `dense` and before `output`.
    rates: [f64; 2],
}

impl Classifier {
    /// Builds the model that `config` describes, with `classes` outputs, from `source`.
    pub fn new(
        config: &ModelConfig,
        classes: usize,
        rates: DropoutRates,
        head_rate: f64,
        precision: Precision,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Classifier {
        let (family, hidden) = (config.family, config.hidden_size);
        let (names, form) = (&family.head, &config.form);
        let encoder = Encoder::new(config, rates, precision, source, device);
        let shape =
            NormShape { size: hidden, eps: form.layer_norm_eps, has_bias: form.biases.norms };
        let input_rate = match names.input_dropout {
            InputDropout::Absent => 0.0,
            InputDropout::Classifier => head_rate,
            InputDropout::Field(_) => config.head.input_dropout,
        };
        let square = [hidden, hidden];
        let head = Head {
            dense: Linear::with_bias(source, names.dense, square, form.biases.head, device),
            activation: config.head.activation,
            norm: names.norm.map(|name| LayerNorm::new(source, name, shape, device)),
            output: Linear::in_floats(source, names.output, [hidden, classes], device),
            rates: [input_rate, head_rate],
        };
        Classifier { family, encoder, pooling: config.head.pooling, head, precision }
    }

    /// What the encoder gives the head, without dropout.
    ///
    /// # Shapes
    ///
    /// Result: `[rows, hidden]`.
    pub fn pooled(&self, batch: &Batch) -> Tensor<2> {
        let batch = &self.encoder.widened(batch);
        self.encoder.pooled(batch, self.pooling, &self.encoder.sending_pass(batch, None))
    }

    /// Unnormalised scores. Dropout is active if `noise` is given.
    ///
    /// # Shapes
    ///
    /// Result: `[rows, classes]`.
    pub fn logits(&self, batch: &Batch, noise: Option<&Noise>) -> Tensor<2> {
        let Some(known) = &batch.pooled else {
            let batch = &self.encoder.widened(batch);
            return self.logits_of_pass(batch, &self.encoder.sending_pass(batch, noise));
        };
        let features = self.head.dense.weight.dims()[0];
        let known = TensorData::new(known.clone(), [batch.rows, features]);
        let state = Tensor::from_data(known, &self.head.dense.weight.device());
        let mask = |site, rate| noise.and_then(|noise| noise.mask(site, batch.rows, rate));
        self.logits_of_state(state, mask)
    }

    /// The number of outputs.
    #[cfg(feature = "device")]
    pub fn classes(&self) -> usize {
        self.head.output.weight.dims()[1]
    }

    /// What the device needs for passes over `batch` with these dropouts, with the numbers of their
    /// loss, if all of it can be sent before: the passes can then be recorded.
    #[cfg(feature = "device")]
    pub fn numbers(&self, batch: &Batch, noises: &[Noise], targets: &[f32]) -> Option<Numbers> {
        if batch.pooled.is_some() {
            return None;
        }
        let batch = &self.encoder.widened(batch);
        let is_mean = self.pooling == Pooling::Mean;
        let numbers = self.encoder.numbers(batch, Extras { noises, targets, is_mean })?;
        numbers.layout().has_spans().then_some(numbers)
    }

    /// Sends them to the device.
    #[cfg(feature = "device")]
    pub fn inputs(&self, numbers: &Numbers) -> Option<Inputs> {
        self.encoder.inputs(numbers)
    }

    /// [`logits`](Self::logits), with what has been sent to the device.
    #[cfg(feature = "device")]
    pub fn logits_of_inputs(
        &self,
        batch: &Batch,
        noise: Option<&Noise>,
        inputs: Inputs,
    ) -> Tensor<2> {
        let batch = &self.encoder.widened(batch);
        self.logits_of_pass(batch, &self.encoder.sent_pass(batch, noise, inputs))
    }

    fn logits_of_pass(&self, batch: &Batch, pass: &Pass) -> Tensor<2> {
        let state = self.encoder.pooled(batch, self.pooling, pass);
        self.logits_of_state(state, |site, rate| pass.mask(site, batch.rows, rate))
    }

    /// `state` is what the encoder gives, `[rows, hidden]`; `mask` returns the dropout mask of a site
    /// with a rate.
    fn logits_of_state(
        &self,
        state: Tensor<2>,
        mask: impl Fn(Site, f64) -> Option<Mask>,
    ) -> Tensor<2> {
        let (head, precision) = (&self.head, self.precision);
        let dropped = |states: Tensor<2>, site: Site, rate: f64| {
            let Some(mask) = mask(site, rate) else { return states };
            let [rows, features] = states.dims();
            let states = states.reshape([rows, 1, features]);
            ops::dropout(states, Some(&mask)).reshape([rows, features])
        };
        let state = dropped(state, Site::HeadInput, head.rates[0]);
        let hidden = head.dense.forward(state, precision);
        let hidden = match head.activation {
            Activation::Tanh => hidden.tanh(),
            other => ops::activated(hidden, other),
        };
        let hidden = match &head.norm {
            Some(norm) => norm.forward(hidden),
            None => hidden,
        };
        let hidden = dropped(hidden, Site::HeadHidden, head.rates[1]);
        head.output.forward(hidden, precision)
    }

    /// Divides the logits by `temperature` and then lowers each class's by its shift, by changing the
    /// last layer.
    pub fn divide_logits(&mut self, temperature: f64, shifts: &[f64]) -> Result<(), StageError> {
        let output = self.family.head.output;
        for (name, parameter) in self.parameters() {
            let part = name.strip_prefix(output);
            let is_bias = part == Some(".bias");
            if !is_bias && part != Some(".weight") {
                continue;
            }
            let mut values = parameter.values(Path::new(output))?;
            for (index, value) in values.iter_mut().enumerate() {
                let shift = if is_bias { shifts[index] } else { 0.0 };
                *value = (f64::from(*value) / temperature - shift) as f32;
            }
            parameter.replace(&values);
        }
        Ok(())
    }
}

impl Network for Classifier {
    fn parameters(&mut self) -> Vec<(String, Parameter<'_>)> {
        let names = &self.family.head;
        let mut all = self.encoder.parameters();
        let prefix = if names.is_pooler { self.family.prefix } else { "" };
        self.head.dense.collect(&format!("{prefix}{}", names.dense), &mut all);
        if let (Some(norm), Some(name)) = (&mut self.head.norm, names.norm) {
            norm.collect(name, &mut all);
        }
        self.head.output.collect(names.output, &mut all);
        all
    }

    #[cfg(feature = "device")]
    fn copies(&self) -> Option<Copies> {
        self.encoder.copies()
    }
}

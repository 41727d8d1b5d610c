//! An encoder with a head for sequence classification: BERT's (pooler and one linear layer) or
//! RoBERTa's and MPNet's (dense, tanh, projection).

use burn::tensor::{Device, Tensor, assert_shape};

use super::batch::Batch;
use super::config::{Family, ModelConfig, Pooling};
use super::encoder::{DropoutRates, Encoder, Pass};
use super::noise::{Noise, Site};
use super::ops;
use super::parameters::{Linear, Network, Parameter, ParameterSource};
use super::precision::Precision;

/// A classifier over the labels of its config.
#[derive(Clone, Debug)]
pub struct Classifier {
    family: Family,
    encoder: Encoder,
    pooling: Pooling,
    head: Head,
    head_rate: f64,
    precision: Precision,
}

#[derive(Clone, Debug)]
enum Head {
    /// `bert.pooler.dense`, `classifier`
    Pooled { pooler: Linear, classifier: Linear },
    /// `classifier.dense`, `classifier.out_proj`
    FirstToken { dense: Linear, projection: Linear },
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
        let hidden = config.hidden_size;
        let encoder = Encoder::new(config, rates, precision, source, device);
        let head = match config.family {
            Family::Bert => Head::Pooled {
                pooler: Linear::new(source, POOLER, [hidden, hidden], device),
                classifier: Linear::new(source, "classifier", [hidden, classes], device),
            },
            Family::Roberta | Family::Mpnet => Head::FirstToken {
                dense: Linear::new(source, "classifier.dense", [hidden, hidden], device),
                projection: Linear::new(source, "classifier.out_proj", [hidden, classes], device),
            },
        };
        Classifier {
            family: config.family,
            encoder,
            pooling: config.head.pooling,
            head,
            head_rate,
            precision,
        }
    }

    /// Unnormalised scores. Dropout is active if `noise` is given.
    ///
    /// # Shapes
    ///
    /// Result: `[rows, classes]`.
    pub fn logits(&self, batch: &Batch, noise: Option<&Noise>) -> Tensor<2> {
        let pass = self.encoder.pass(batch, noise);
        let state = self.encoder.pooled(batch, self.pooling, &pass);
        let precision = self.precision;
        assert_shape!(state, [batch.rows, _]);
        match &self.head {
            Head::Pooled { pooler, classifier } => {
                let pooled = pooler.forward(state, precision).tanh();
                classifier.forward(self.dropout(pooled, Site::HeadHidden, &pass), precision)
            }
            Head::FirstToken { dense, projection } => {
                let state = self.dropout(state, Site::HeadInput, &pass);
                let hidden = dense.forward(state, precision).tanh();
                projection.forward(self.dropout(hidden, Site::HeadHidden, &pass), precision)
            }
        }
    }

    fn dropout(&self, states: Tensor<2>, site: Site, pass: &Pass) -> Tensor<2> {
        let [rows, features] = states.dims();
        let states = states.reshape([rows, 1, features]);
        let mask = pass.mask(site, rows, self.head_rate);
        ops::dropout(states, mask.as_ref()).reshape([rows, features])
    }
}

impl Network for Classifier {
    fn parameters(&mut self) -> Vec<(String, Parameter<'_>)> {
        let prefix = prefix(self.family);
        let mut all: Vec<_> = self
            .encoder
            .parameters(self.family)
            .into_iter()
            .map(|(name, parameter)| (format!("{prefix}{name}"), parameter))
            .collect();
        match &mut self.head {
            Head::Pooled { pooler, classifier } => {
                pooler.collect(&format!("{prefix}{POOLER}"), &mut all);
                classifier.collect("classifier", &mut all);
            }
            Head::FirstToken { dense, projection } => {
                dense.collect("classifier.dense", &mut all);
                projection.collect("classifier.out_proj", &mut all);
            }
        }
        all
    }
}

const POOLER: &str = "pooler.dense";

/// The prefix of the encoder's tensor names in a checkpoint with a head.
pub fn prefix(family: Family) -> &'static str {
    match family {
        Family::Bert => "bert.",
        Family::Roberta => "roberta.",
        Family::Mpnet => "mpnet.",
    }
}

/// The checkpoint name of the last weight of the head, whose shape is `[classes, hidden]`.
pub fn last_weight(family: Family) -> &'static str {
    match family {
        Family::Bert => "classifier.weight",
        Family::Roberta | Family::Mpnet => "classifier.out_proj.weight",
    }
}

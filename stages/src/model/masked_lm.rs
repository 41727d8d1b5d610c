//! An encoder with the output layer of masked language modelling: dense, GELU, layer norm, and a
//! projection to the vocabulary whose weight is the table of word embeddings.
//!
//! | here | RoBERTa, MPNet | BERT |
//! |---|---|---|
//! | `dense` | `lm_head.dense` | `cls.predictions.transform.dense` |
//! | `norm` | `lm_head.layer_norm` | `cls.predictions.transform.LayerNorm` |
//! | `bias` | `lm_head.bias` | `cls.predictions.bias` |

use burn::tensor::{Device, Tensor, TensorData, activation, assert_shape};

use super::batch::Batch;
use super::classifier::prefix;
use super::config::{Family, ModelConfig};
use super::cpu;
use super::encoder::{DropoutRates, Encoder};
use super::noise::Noise;
use super::ops;
use super::parameters::{Linear, Network, Parameter, ParameterSource, Start, vector};
use super::precision::Precision;

/// A masked language model.
#[derive(Clone, Debug)]
pub struct MaskedLm {
    family: Family,
    encoder: Encoder,
    dense: Linear,
    norm_weight: Tensor<1>,
    norm_bias: Tensor<1>,
    norm_eps: f64,
    /// `[vocabulary]`
    bias: Tensor<1>,
    /// The pooler of a BERT, neither used nor trained. It is kept for classifiers that start from
    /// this model.
    pooler: Option<Linear>,
    precision: Precision,
}

/// The names of the output layer's tensors.
pub struct Names {
    pub dense: &'static str,
    pub norm: &'static str,
    pub bias: &'static str,
}

impl Names {
    pub fn of(family: Family) -> Names {
        match family {
            Family::Bert => Names {
                dense: "cls.predictions.transform.dense",
                norm: "cls.predictions.transform.LayerNorm",
                bias: "cls.predictions.bias",
            },
            Family::Roberta | Family::Mpnet => {
                Names { dense: "lm_head.dense", norm: "lm_head.layer_norm", bias: "lm_head.bias" }
            }
        }
    }
}

/// Whether a tensor belongs to the output layer.
pub fn is_head(name: &str) -> bool {
    name.starts_with("lm_head.") || name.starts_with("cls.predictions.")
}

const POOLER: &str = "pooler.dense";

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
        let hidden = config.hidden_size;
        let names = Names::of(config.family);
        let encoder = Encoder::new(config, rates, precision, source, device);
        let mut of_norm = |part: &str, start| {
            vector(source, &format!("{}.{part}", names.norm), hidden, start, device)
        };
        let norm_weight = of_norm("weight", Start::Ones);
        let norm_bias = of_norm("bias", Start::Zeros);
        MaskedLm {
            family: config.family,
            encoder,
            dense: Linear::new(source, names.dense, [hidden, hidden], device),
            norm_weight,
            norm_bias,
            norm_eps: config.layer_norm_eps,
            bias: vector(source, names.bias, config.vocab_size, Start::Zeros, device),
            pooler: pooler.then(|| Linear::new(source, POOLER, [hidden, hidden], device)),
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
        let states = ops::gelu(self.dense.forward(states, self.precision));
        let (weight, bias) = (self.norm_weight.clone(), Some(self.norm_bias.clone()));
        let states = burn::tensor::module::layer_norm(states, weight, bias, self.norm_eps);
        let words = self.encoder.words();
        let (bias, precision) = (&self.bias, self.precision);
        let fused =
            cpu::vocabulary::cross_entropy(&states, words, bias, targets.ids, scale, precision);
        fused.unwrap_or_else(|| {
            let words = words.clone().transpose();
            let logits = ops::linear(states, &words, &self.bias, self.precision);
            let logarithms = activation::log_softmax(logits, 1); // [positions, vocabulary]
            let ids: Vec<i32> = targets.ids.iter().map(|id| *id as i32).collect();
            let ids = TensorData::new(ids, [targets.ids.len(), 1]);
            let ids = Tensor::from_data(ids, &logarithms.device());
            logarithms.gather(1, ids).sum() * -scale
        })
    }
}

impl Network for MaskedLm {
    fn parameters(&mut self) -> Vec<(String, Parameter<'_>)> {
        let prefix = prefix(self.family);
        let names = Names::of(self.family);
        let mut all: Vec<_> = self
            .encoder
            .parameters(self.family)
            .into_iter()
            .map(|(name, parameter)| (format!("{prefix}{name}"), parameter))
            .collect();
        self.dense.collect(names.dense, &mut all);
        all.push((format!("{}.weight", names.norm), Parameter::Vector(&mut self.norm_weight)));
        all.push((format!("{}.bias", names.norm), Parameter::Vector(&mut self.norm_bias)));
        all.push((names.bias.to_owned(), Parameter::Vector(&mut self.bias)));
        if let Some(pooler) = &mut self.pooler {
            pooler.collect(&format!("{prefix}{POOLER}"), &mut all);
        }
        all
    }
}

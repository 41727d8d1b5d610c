//! The parameters that `finetune` and `pretrain` share: their specifications, and their values as
//! one typed struct. `precision` is a parameter of `predict` too. Where the two stages have
//! different defaults, each passes its own.

#[cfg(feature = "model")]
use std::path::Path;

#[cfg(feature = "model")]
use crate::model::config::ModelConfig;
#[cfg(feature = "model")]
use crate::model::encoder::DropoutRates;
#[cfg(feature = "model")]
use crate::model::loading::Weights;
use crate::model::precision::Precision;
#[cfg(feature = "model")]
use crate::model::weight_files::has_weights;
use crate::stage::choice::choice;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
#[cfg(feature = "model")]
use crate::train::optimizer::AdamW;
use crate::train::schedule::{Decay, Schedule};

/// The range of a dropout rate.
pub const RATE: ParamKind = ParamKind::float(0.0, 0.99);

pub const fn learning_rate(default: f64) -> ParamSpec {
    let default = Default::Float(default);
    ParamSpec::new("learning_rate", ParamKind::float(0.0, 10.0), default, "highest learning rate")
}

pub const SCHEDULE: ParamSpec = ParamSpec::new(
    "schedule",
    ParamKind::Choice(Decay::WORDS),
    Default::Text("linear"),
    "learning rate after the warm-up: `linear` falls to 0 at the last step, `constant` stays",
);

pub const fn warmup_ratio(default: f64, doc: &'static str) -> ParamSpec {
    ParamSpec::new("warmup_ratio", ParamKind::float(0.0, 1.0), Default::Float(default), doc)
}

pub const fn weight_decay(default: f64) -> ParamSpec {
    ParamSpec::new(
        "weight_decay",
        ParamKind::float(0.0, 1.0),
        Default::Float(default),
        "decoupled weight decay; not applied to biases and layer norms",
    )
}

pub const ADAM_BETA1: ParamSpec = ParamSpec::new(
    "adam_beta1",
    ParamKind::float(0.0, 0.999_999),
    Default::Float(0.9),
    "decay of AdamW's first moment",
);

pub const fn adam_beta2(default: f64) -> ParamSpec {
    let kind = ParamKind::float(0.0, 0.999_999);
    let default = Default::Float(default);
    ParamSpec::new("adam_beta2", kind, default, "decay of AdamW's second moment")
}

pub const fn adam_epsilon(default: f64) -> ParamSpec {
    let kind = ParamKind::float(0.0, 1.0);
    ParamSpec::new("adam_epsilon", kind, Default::Float(default), "added to AdamW's denominator")
}

pub const MAX_GRAD_NORM: ParamSpec = ParamSpec::new(
    "max_grad_norm",
    ParamKind::float(0.0, 1e9),
    Default::Float(1.0),
    "gradients with a larger norm are scaled down to this norm; 0: no limit",
);

pub const fn dropout(doc: &'static str) -> ParamSpec {
    ParamSpec::new("dropout", RATE, Default::Null, doc)
}

pub const fn attention_dropout(doc: &'static str) -> ParamSpec {
    ParamSpec::new("attention_dropout", RATE, Default::Null, doc)
}

pub const fn init(default: &'static str, doc: &'static str) -> ParamSpec {
    ParamSpec::new("init", ParamKind::Choice(Init::WORDS), Default::Text(default), doc)
}

pub const fn seed(doc: &'static str) -> ParamSpec {
    ParamSpec::new("seed", ParamKind::int(0, i64::MAX), Default::Int(42), doc)
}

/// The parameter `precision` with these words. The last part of its description is about words that
/// training does not have.
macro_rules! precision {
    ($words:expr, $more:literal) => {
        ParamSpec::new(
            "precision",
            ParamKind::Choice($words),
            Default::Text("f32"),
            concat!(
                "number format of the factors of matrix products; everything else is f32; tf32 is a GPU's \
                 shorter f32, and f32 on a CPU; few CPUs (AMD from Zen 4) compute faster with bf16",
                $more
            ),
        )
    };
}
pub(crate) use precision;

pub const PRECISION: ParamSpec = precision!(Precision::OF_TRAINING, "");

choice! {
    /// The weights that a training starts from.
    pub enum Init {
        /// The checkpoint's.
        Pretrained = "pretrained",
        /// Random ones.
        Random = "random",
        /// The checkpoint's, or random ones if the folder holds no weights.
        Auto = "auto",
    }
}

/// The shared parameters of one training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrainingParams {
    pub schedule: ScheduleParams,
    pub optimizer: OptimizerParams,
    /// `None`: the model's own rate.
    pub dropout: Option<f64>,
    /// `None`: the model's own rate.
    pub attention_dropout: Option<f64>,
    pub init: Init,
    pub seed: u64,
    pub precision: Precision,
}

/// The parameters of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleParams {
    pub learning_rate: f64,
    pub decay: Decay,
    /// The share of all steps that the warm-up takes.
    pub warmup_ratio: f64,
}

/// The parameters of AdamW, named as in the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerParams {
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub max_grad_norm: f64,
}

impl TrainingParams {
    pub fn of(params: &Params) -> TrainingParams {
        TrainingParams {
            schedule: ScheduleParams::of(params),
            optimizer: OptimizerParams {
                weight_decay: params.float("weight_decay"),
                adam_beta1: params.float("adam_beta1"),
                adam_beta2: params.float("adam_beta2"),
                adam_epsilon: params.float("adam_epsilon"),
                max_grad_norm: params.float("max_grad_norm"),
            },
            dropout: params.optional_float("dropout"),
            attention_dropout: params.optional_float("attention_dropout"),
            init: Init::of(params, "init"),
            seed: params.int("seed").unsigned_abs(),
            precision: Precision::of(params, "precision"),
        }
    }

    /// The dropout rates inside an encoder with this config.
    #[cfg(feature = "model")]
    pub fn dropout_rates(&self, config: &ModelConfig) -> DropoutRates {
        DropoutRates {
            embeddings: self.dropout.unwrap_or(config.dropout.embeddings),
            hidden: self.dropout.unwrap_or(config.dropout.hidden),
            attention: self.attention_dropout.unwrap_or(config.dropout.attention),
        }
    }

    /// The source of the weights of the model in `folder`.
    #[cfg(feature = "model")]
    pub fn weights(&self, folder: &Path) -> Weights {
        match self.init {
            Init::Pretrained => Weights::Pretrained,
            Init::Random => Weights::Random,
            Init::Auto if has_weights(folder) => Weights::Pretrained,
            Init::Auto => Weights::Random,
        }
    }

    /// The optimiser of an encoder with this many layers, without a decay by layer.
    #[cfg(feature = "model")]
    pub fn adam_w(&self, layers: usize) -> AdamW {
        AdamW {
            beta1: self.optimizer.adam_beta1,
            beta2: self.optimizer.adam_beta2,
            epsilon: self.optimizer.adam_epsilon,
            weight_decay: self.optimizer.weight_decay,
            max_gradient_norm: self.optimizer.max_grad_norm,
            layer_decay: 1.0,
            layers,
        }
    }
}

impl ScheduleParams {
    pub fn of(params: &Params) -> ScheduleParams {
        ScheduleParams {
            learning_rate: params.float("learning_rate"),
            decay: Decay::of(params, "schedule"),
            warmup_ratio: params.float("warmup_ratio"),
        }
    }

    /// The learning rate of each step of a training of this length.
    pub fn over(&self, total_steps: u64) -> Schedule {
        Schedule {
            learning_rate: self.learning_rate,
            decay: self.decay,
            // Rounded up, as transformers' `TrainingArguments.get_warmup_steps` does.
            warmup_steps: (self.warmup_ratio * total_steps as f64).ceil() as u64,
            total_steps,
        }
    }
}

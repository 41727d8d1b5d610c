//! The parameters of `pretrain`: their table, and their values as a typed struct. The defaults are
//! RoBERTa's, except those that depend on RoBERTa's batches of 8,000 sequences.

use crate::data::corpus::{self, CorpusFormat};
use crate::stage::choice::choice;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::train::params::{
    ADAM_BETA1, MAX_GRAD_NORM, PRECISION, SCHEDULE, TrainingParams, adam_beta2, adam_epsilon,
    attention_dropout, dropout, init, learning_rate, seed, warmup_ratio, weight_decay,
};

/// The parameters of a new model's shape. They are `null` by default, because a pipeline must not
/// give them together with the input `model`.
pub const SHAPE: [&str; 5] = ["layers", "hidden", "heads", "intermediate", "max_position"];

/// The meaning of `null` for a new model. These numbers are not in the key: to change one, raise
/// the stage's version.
pub const NEW_MODEL: NewModel =
    NewModel { layers: 4, hidden: 256, heads: 4, max_position: 256, dropout: 0.1 };

/// `intermediate` of a new model, as a multiple of `hidden`.
const INTERMEDIATE_PER_HIDDEN: i64 = 4;

/// The numbers that stand for `null`.
pub struct NewModel {
    layers: i64,
    hidden: i64,
    heads: i64,
    max_position: i64,
    /// Of hidden states and of attention probabilities.
    pub dropout: f64,
}

pub const PARAMS: &[ParamSpec] = &[
    corpus::FORMAT,
    ParamSpec::new(
        "layers",
        ParamKind::int(1, 1_000),
        Default::Null,
        "layers of a new model; null: 4",
    ),
    ParamSpec::new(
        "hidden",
        ParamKind::int(1, 100_000),
        Default::Null,
        "size of a new model's hidden states; null: 256",
    ),
    ParamSpec::new(
        "heads",
        ParamKind::int(1, 10_000),
        Default::Null,
        "attention heads per layer of a new model; null: 4",
    ),
    ParamSpec::new(
        "intermediate",
        ParamKind::int(1, 1_000_000),
        Default::Null,
        "size of a new model's feed-forward layers; null: 4 times `hidden`",
    ),
    ParamSpec::new(
        "max_position",
        ParamKind::int(3, 4_000),
        Default::Null,
        "longest sequence that a new model can read, in tokens; null: 256",
    ),
    ParamSpec::new(
        "epochs",
        ParamKind::int(1, 100_000),
        Default::Int(10),
        "passes over the texts; ignored if `steps` is given",
    ),
    ParamSpec::new(
        "steps",
        ParamKind::int(1, 1_000_000_000),
        Default::Null,
        "optimiser steps; null: as many as `epochs` take",
    ),
    ParamSpec::new(
        "batch_tokens",
        ParamKind::int(1, 100_000_000),
        Default::Int(4_096),
        "tokens per batch, padding included; a batch holds texts of similar length",
    ),
    ParamSpec::new(
        "accumulate",
        ParamKind::int(1, 1_000_000),
        Default::Int(1),
        "batches whose gradients are summed for one optimiser step",
    ),
    ParamSpec::new(
        "max_length",
        ParamKind::WordOrInt { words: &["auto"], min: 3, max: 1_000_000 },
        Default::Text("auto"),
        "longest sequence in tokens, special tokens included; longer texts lose their end; `auto`: \
         the model's limit",
    ),
    ParamSpec::new(
        "mask_share",
        ParamKind::float(0.001, 0.9),
        Default::Float(0.15),
        "share of each text's tokens that the model must predict, at least one per text",
    ),
    ParamSpec::new(
        "mask_keep",
        ParamKind::float(0.0, 1.0),
        Default::Float(0.1),
        "share of the tokens to predict that stay unchanged",
    ),
    ParamSpec::new(
        "mask_random",
        ParamKind::float(0.0, 1.0),
        Default::Float(0.1),
        "share of the tokens to predict that become a random token; the rest become the mask token",
    ),
    ParamSpec::new(
        "whole_word",
        ParamKind::Bool,
        Default::Bool(false),
        "whether all tokens of a word are masked together",
    ),
    ParamSpec::new(
        "valid_share",
        ParamKind::float(0.0, 0.9),
        Default::Float(0.02),
        "share of the texts that is held out for evaluation; ignored if `valid` is given",
    ),
    ParamSpec::new(
        "evaluate_every",
        ParamKind::int(1, 1_000_000_000),
        Default::Null,
        "optimiser steps between evaluations; null: one evaluation per epoch",
    ),
    learning_rate(5e-4),
    SCHEDULE,
    warmup_ratio(0.06, "share of all steps over which the learning rate rises from 0"),
    weight_decay(0.01),
    ADAM_BETA1,
    adam_beta2(0.98),
    adam_epsilon(1e-6),
    MAX_GRAD_NORM,
    dropout("dropout of hidden states; null: the model's own rate, 0.1 for a new model"),
    attention_dropout(
        "dropout of attention probabilities; null: the model's own rate, 0.1 for a new model",
    ),
    init(
        "auto",
        "initial weights: those of `model`, or random ones from its config.json alone; `auto`: \
         random only if there are no weights",
    ),
    seed("seed of new weights, the held-out texts, the order of texts, masks and dropout"),
    PRECISION,
    ParamSpec::new(
        "save_precision",
        ParamKind::Choice(SavePrecision::WORDS),
        Default::Text("f32"),
        "number format of the weights in the model folder; f16 takes half the space and is read \
         back as f32",
    ),
];

choice! {
    /// The number format of the saved weights.
    pub enum SavePrecision {
        F32 = "f32",
        F16 = "f16",
    }
}

/// The parameters of one `pretrain`.
#[derive(Clone, Debug, PartialEq)]
pub struct PretrainParams {
    pub training: TrainingParams,
    /// How the files hold their texts.
    pub format: CorpusFormat,
    pub shape: ShapeParams,
    pub epochs: u64,
    /// `None`: as many as `epochs` take.
    pub steps: Option<u64>,
    pub batch_tokens: usize,
    pub accumulate: usize,
    /// `None`: the model's limit.
    pub max_length: Option<usize>,
    pub masking: MaskRules,
    pub valid_share: f64,
    /// In steps. `None`: at the end of each epoch.
    pub evaluate_every: Option<u64>,
    pub save_precision: SavePrecision,
}

/// The parameters of a new model's shape, as the pipeline gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeParams {
    pub layers: Option<i64>,
    pub hidden: Option<i64>,
    pub heads: Option<i64>,
    pub intermediate: Option<i64>,
    pub max_position: Option<i64>,
}

/// The shape of a new model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub layers: i64,
    pub hidden: i64,
    pub heads: i64,
    pub intermediate: i64,
    pub max_position: i64,
}

/// Which tokens are masked, and with what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskRules {
    /// The share of the tokens that the model must predict.
    pub share: f64,
    /// The share of these that stay unchanged.
    pub keep: f64,
    /// The share of these that become a random ordinary token.
    pub random: f64,
    /// Whether all tokens of a word are masked together.
    pub whole_word: bool,
}

impl PretrainParams {
    pub fn of(params: &Params) -> PretrainParams {
        PretrainParams {
            training: TrainingParams::of(params),
            format: CorpusFormat::of(params, "format"),
            shape: ShapeParams {
                layers: params.optional_int("layers"),
                hidden: params.optional_int("hidden"),
                heads: params.optional_int("heads"),
                intermediate: params.optional_int("intermediate"),
                max_position: params.optional_int("max_position"),
            },
            epochs: params.int("epochs").unsigned_abs(),
            steps: params.optional_int("steps").map(i64::unsigned_abs),
            batch_tokens: params.count("batch_tokens"),
            accumulate: params.count("accumulate"),
            max_length: params.optional_count("max_length"),
            masking: MaskRules {
                share: params.float("mask_share"),
                keep: params.float("mask_keep"),
                random: params.float("mask_random"),
                whole_word: params.bool("whole_word"),
            },
            valid_share: params.float("valid_share"),
            evaluate_every: params.optional_int("evaluate_every").map(i64::unsigned_abs),
            save_precision: SavePrecision::of(params, "save_precision"),
        }
    }
}

impl ShapeParams {
    /// The shape of a new model, with [`NEW_MODEL`] in place of `null`.
    pub fn of_new_model(&self) -> Shape {
        let hidden = self.hidden.unwrap_or(NEW_MODEL.hidden);
        Shape {
            layers: self.layers.unwrap_or(NEW_MODEL.layers),
            hidden,
            heads: self.heads.unwrap_or(NEW_MODEL.heads),
            intermediate: self.intermediate.unwrap_or(INTERMEDIATE_PER_HIDDEN * hidden),
            max_position: self.max_position.unwrap_or(NEW_MODEL.max_position),
        }
    }
}

//! The parameters of `pretrain`. The defaults are RoBERTa's where it does not matter that there a
//! batch is 8,000 sequences.

use crate::data::corpus;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::train::params::{
    ADAM_BETA1, MAX_GRAD_NORM, PRECISION, RATE, SCHEDULE, adam_beta2, adam_epsilon, learning_rate,
    seed, warmup_ratio, weight_decay,
};

/// The parameters that a new model's shape is made of.
pub const SHAPE: [&str; 5] = ["layers", "hidden", "heads", "intermediate", "max_position"];

const HIDDEN: i64 = 256;
const HEADS: i64 = 4;

/// Hidden size and heads.
pub fn width(params: &Params) -> (i64, i64) {
    let of = |name: &str, default: i64| params.optional_int(name).unwrap_or(default);
    (of("hidden", HIDDEN), of("heads", HEADS))
}

pub const PARAMS: &[ParamSpec] = &[
    corpus::FORMAT,
    ParamSpec::new(
        "layers",
        ParamKind::int(1, 1_000),
        Default::Null,
        "of a new model: how many layers; 4",
    ),
    ParamSpec::new(
        "hidden",
        ParamKind::int(1, 100_000),
        Default::Null,
        "of a new model: how wide a state is; 256",
    ),
    ParamSpec::new(
        "heads",
        ParamKind::int(1, 10_000),
        Default::Null,
        "of a new model: attention heads a layer; 4",
    ),
    ParamSpec::new(
        "intermediate",
        ParamKind::int(1, 1_000_000),
        Default::Null,
        "of a new model: how wide the feed-forward networks are; four times `hidden`",
    ),
    ParamSpec::new(
        "max_position",
        ParamKind::int(3, 4_000),
        Default::Null,
        "of a new model: the longest sequence that it can read, in tokens; 256",
    ),
    ParamSpec::new(
        "epochs",
        ParamKind::int(1, 100_000),
        Default::Int(10),
        "passes over the texts; without effect where `steps` is given",
    ),
    ParamSpec::new(
        "steps",
        ParamKind::int(1, 1_000_000_000),
        Default::Null,
        "optimiser steps, in place of `epochs`",
    ),
    ParamSpec::new(
        "batch_tokens",
        ParamKind::int(1, 100_000_000),
        Default::Int(4_096),
        "tokens of a batch, padding counted; its texts are of similar length",
    ),
    ParamSpec::new(
        "accumulate",
        ParamKind::int(1, 1_000_000),
        Default::Int(1),
        "batches whose gradients are added up for one optimiser step",
    ),
    ParamSpec::new(
        "max_length",
        ParamKind::WordOrInt { words: &["auto"], min: 3, max: 1_000_000 },
        Default::Text("auto"),
        "longest sequence in tokens, special tokens included; what is longer loses its end; \
         auto: the model's limit",
    ),
    ParamSpec::new(
        "mask_share",
        ParamKind::float(0.001, 0.9),
        Default::Float(0.15),
        "share of a text's tokens that are to be predicted, at least one of each text",
    ),
    ParamSpec::new(
        "mask_keep",
        ParamKind::float(0.0, 1.0),
        Default::Float(0.1),
        "share of these that stay as they are",
    ),
    ParamSpec::new(
        "mask_random",
        ParamKind::float(0.0, 1.0),
        Default::Float(0.1),
        "share of these that become any other token; the rest become the mask token",
    ),
    ParamSpec::new(
        "whole_word",
        ParamKind::Bool,
        Default::Bool(false),
        "whether all tokens of a word are predicted together",
    ),
    ParamSpec::new(
        "valid_share",
        ParamKind::float(0.0, 0.9),
        Default::Float(0.02),
        "share of the texts that is held out to evaluate on; without effect where `valid` is given",
    ),
    ParamSpec::new(
        "evaluate_every",
        ParamKind::int(1, 1_000_000_000),
        Default::Null,
        "optimiser steps from one evaluation to the next; an epoch's where not given",
    ),
    learning_rate(5e-4),
    SCHEDULE,
    warmup_ratio(0.06, "share of all steps in which the learning rate rises from 0"),
    weight_decay(0.01),
    ADAM_BETA1,
    adam_beta2(0.98),
    adam_epsilon(1e-6),
    MAX_GRAD_NORM,
    ParamSpec::new(
        "dropout",
        RATE,
        Default::Null,
        "dropout of hidden states; the model's own where not given, 0.1 of a new one",
    ),
    ParamSpec::new(
        "attention_dropout",
        RATE,
        Default::Null,
        "dropout of attention probabilities; the model's own where not given, 0.1 of a new one",
    ),
    ParamSpec::new(
        "init",
        ParamKind::Choice(&["auto", "pretrained", "random"]),
        Default::Text("auto"),
        "the `model`'s weights, or random ones by its config.json alone; `auto`: random only \
         where there are no weights",
    ),
    seed("of new weights, what is held out, the order of texts, masks and dropout"),
    PRECISION,
    ParamSpec::new(
        "save_precision",
        ParamKind::Choice(&["f32", "f16"]),
        Default::Text("f32"),
        "of the weights in the model folder; f16 takes half the room, and is read as f32",
    ),
];

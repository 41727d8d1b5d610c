//! The parameters of `pretrain`. The defaults are RoBERTa's where it does not matter that there a
//! batch is 8,000 sequences.

use crate::corpus;
use crate::params::{Default, ParamKind, ParamSpec, Params};

const fn spec(
    name: &'static str,
    kind: ParamKind,
    default: Default,
    doc: &'static str,
) -> ParamSpec {
    ParamSpec { name, kind, default, doc }
}

const fn int(min: i64, max: i64) -> ParamKind {
    ParamKind::Int { min, max }
}

const fn float(min: f64, max: f64) -> ParamKind {
    ParamKind::Float { min, max }
}

const RATE: ParamKind = float(0.0, 0.99);

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
    spec("layers", int(1, 1_000), Default::Null, "of a new model: how many layers; 4"),
    spec("hidden", int(1, 100_000), Default::Null, "of a new model: how wide a state is; 256"),
    spec("heads", int(1, 10_000), Default::Null, "of a new model: attention heads a layer; 4"),
    spec(
        "intermediate",
        int(1, 1_000_000),
        Default::Null,
        "of a new model: how wide the feed-forward networks are; four times `hidden`",
    ),
    spec(
        "max_position",
        int(3, 4_000),
        Default::Null,
        "of a new model: the longest sequence that it can read, in tokens; 256",
    ),
    spec(
        "epochs",
        int(1, 100_000),
        Default::Int(10),
        "passes over the texts; without effect where `steps` is given",
    ),
    spec("steps", int(1, 1_000_000_000), Default::Null, "optimiser steps, in place of `epochs`"),
    spec(
        "batch_tokens",
        int(1, 100_000_000),
        Default::Int(4_096),
        "tokens of a batch, padding counted; its texts are of similar length",
    ),
    spec(
        "accumulate",
        int(1, 1_000_000),
        Default::Int(1),
        "batches whose gradients are added up for one optimiser step",
    ),
    spec(
        "max_length",
        ParamKind::WordOrInt { words: &["auto"], min: 3, max: 1_000_000 },
        Default::Text("auto"),
        "longest sequence in tokens, special tokens included; what is longer loses its end; \
         auto: the model's limit",
    ),
    spec(
        "mask_share",
        float(0.001, 0.9),
        Default::Float(0.15),
        "share of a text's tokens that are to be predicted, at least one of each text",
    ),
    spec("mask_keep", float(0.0, 1.0), Default::Float(0.1), "share of these that stay as they are"),
    spec(
        "mask_random",
        float(0.0, 1.0),
        Default::Float(0.1),
        "share of these that become any other token; the rest become the mask token",
    ),
    spec(
        "whole_word",
        ParamKind::Bool,
        Default::Bool(false),
        "whether all tokens of a word are predicted together",
    ),
    spec(
        "valid_share",
        float(0.0, 0.9),
        Default::Float(0.02),
        "share of the texts that is held out to evaluate on; without effect where `valid` is given",
    ),
    spec(
        "evaluate_every",
        int(1, 1_000_000_000),
        Default::Null,
        "optimiser steps from one evaluation to the next; an epoch's where not given",
    ),
    spec("learning_rate", float(0.0, 10.0), Default::Float(5e-4), "highest learning rate"),
    spec(
        "schedule",
        ParamKind::Choice(&["linear", "constant"]),
        Default::Text("linear"),
        "how the learning rate goes on after warm-up: down to 0 at the last step, or level",
    ),
    spec(
        "warmup_ratio",
        float(0.0, 1.0),
        Default::Float(0.06),
        "share of all steps in which the learning rate rises from 0",
    ),
    spec(
        "weight_decay",
        float(0.0, 1.0),
        Default::Float(0.01),
        "decoupled weight decay; biases and layer norms are spared",
    ),
    spec("adam_beta1", float(0.0, 0.999_999), Default::Float(0.9), "decay of the first moment"),
    spec("adam_beta2", float(0.0, 0.999_999), Default::Float(0.98), "decay of the second moment"),
    spec("adam_epsilon", float(0.0, 1.0), Default::Float(1e-6), "added to AdamW's denominator"),
    spec(
        "max_grad_norm",
        float(0.0, 1e9),
        Default::Float(1.0),
        "gradients with a larger norm are scaled down to it; 0 turns this off",
    ),
    spec(
        "dropout",
        RATE,
        Default::Null,
        "dropout of hidden states; the model's own where not given, 0.1 of a new one",
    ),
    spec(
        "attention_dropout",
        RATE,
        Default::Null,
        "dropout of attention probabilities; the model's own where not given, 0.1 of a new one",
    ),
    spec(
        "init",
        ParamKind::Choice(&["auto", "pretrained", "random"]),
        Default::Text("auto"),
        "the `model`'s weights, or random ones by its config.json alone; `auto`: random only \
         where there are no weights",
    ),
    spec(
        "seed",
        int(0, i64::MAX),
        Default::Int(42),
        "of new weights, what is held out, the order of texts, masks and dropout",
    ),
    spec(
        "precision",
        ParamKind::Choice(&["f32", "bf16"]),
        Default::Text("f32"),
        "of the factors of matrix products; all else is f32; bf16 is for GPUs, and slow on the CPU",
    ),
    spec(
        "save_precision",
        ParamKind::Choice(&["f32", "f16"]),
        Default::Text("f32"),
        "of the weights in the model folder; f16 takes half the room, and is read as f32",
    ),
];

//! The parameters that `finetune` and `pretrain` have in common, and `precision`, which `predict`
//! has too. Where defaults differ, each gives its own.

use crate::stage::params::{Default, ParamKind, ParamSpec};

/// Of a dropout.
pub const RATE: ParamKind = ParamKind::float(0.0, 0.99);

pub const fn learning_rate(default: f64) -> ParamSpec {
    let default = Default::Float(default);
    ParamSpec::new("learning_rate", ParamKind::float(0.0, 10.0), default, "highest learning rate")
}

pub const SCHEDULE: ParamSpec = ParamSpec::new(
    "schedule",
    ParamKind::Choice(&["linear", "constant"]),
    Default::Text("linear"),
    "how the learning rate goes on after warm-up: down to 0 at the last step, or level",
);

pub const fn warmup_ratio(default: f64, doc: &'static str) -> ParamSpec {
    ParamSpec::new("warmup_ratio", ParamKind::float(0.0, 1.0), Default::Float(default), doc)
}

pub const fn weight_decay(default: f64) -> ParamSpec {
    ParamSpec::new(
        "weight_decay",
        ParamKind::float(0.0, 1.0),
        Default::Float(default),
        "decoupled weight decay; biases and layer norms are spared",
    )
}

pub const ADAM_BETA1: ParamSpec = ParamSpec::new(
    "adam_beta1",
    ParamKind::float(0.0, 0.999_999),
    Default::Float(0.9),
    "decay of the first moment",
);

pub const fn adam_beta2(default: f64) -> ParamSpec {
    let kind = ParamKind::float(0.0, 0.999_999);
    ParamSpec::new("adam_beta2", kind, Default::Float(default), "decay of the second moment")
}

pub const fn adam_epsilon(default: f64) -> ParamSpec {
    let kind = ParamKind::float(0.0, 1.0);
    ParamSpec::new("adam_epsilon", kind, Default::Float(default), "added to AdamW's denominator")
}

pub const MAX_GRAD_NORM: ParamSpec = ParamSpec::new(
    "max_grad_norm",
    ParamKind::float(0.0, 1e9),
    Default::Float(1.0),
    "gradients with a larger norm are scaled down to it; 0 turns this off",
);

pub const fn seed(doc: &'static str) -> ParamSpec {
    ParamSpec::new("seed", ParamKind::int(0, i64::MAX), Default::Int(42), doc)
}

pub const PRECISION: ParamSpec = ParamSpec::new(
    "precision",
    ParamKind::Choice(&["f32", "bf16"]),
    Default::Text("f32"),
    "of the factors of matrix products; all else is f32; on a CPU bf16 is faster on few (AMD from Zen 4 on)",
);

//! The parameters of `score`.

use crate::stage::params::{Default, ParamKind, ParamSpec, Params};

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "positive",
        ParamKind::Text,
        Default::Null,
        "the positive label: of two labels, its precision, recall and F1 are the headline, and the \
         default is the last in alphabetical order; of more labels the macro averages are the \
         headline, and only a label that is named here has figures beside them",
    ),
    ParamSpec::new(
        "bootstrap",
        ParamKind::int(0, 1_000_000),
        Default::Int(1000),
        "how many times the rows are resampled for the intervals; 0 for no intervals",
    ),
    ParamSpec::new(
        "confidence",
        ParamKind::float(0.0, 1.0),
        Default::Float(0.95),
        "the confidence level of the intervals, more than 0 and less than 1",
    ),
    ParamSpec::new(
        "seed",
        ParamKind::int(0, i64::MAX),
        Default::Int(42),
        "the seed of the resampling",
    ),
];

/// The parameters of `score`, parsed. A comparison of two files of predictions takes them too.
#[derive(Clone, Debug)]
pub struct ScoreParams {
    /// The declared positive label.
    pub positive: Option<String>,
    /// How many times the rows are resampled; 0 for no intervals.
    pub replicates: usize,
    /// The confidence level of the intervals, more than 0 and less than 1.
    pub confidence: f64,
    pub seed: u64,
}

impl ScoreParams {
    pub fn of(params: &Params) -> ScoreParams {
        ScoreParams {
            positive: params.optional_text("positive").map(str::to_owned),
            replicates: params.count("bootstrap"),
            confidence: params.float("confidence"),
            seed: params.int("seed").unsigned_abs(),
        }
    }
}

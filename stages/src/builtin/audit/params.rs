//! The parameters of `audit`.

use super::confident::Filter;
use crate::stage::choice::choice;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};

choice! {
    /// The score by which rows with a suspicious label are sorted, the lowest first.
    pub enum Rank {
        /// The probability of the given label.
        SelfConfidence = "self_confidence",
        /// (p(given) − p(likeliest other) + 1) / 2.
        NormalizedMargin = "normalized_margin",
    }
}

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "filter",
        ParamKind::Choice(Filter::WORDS),
        Default::Text("prune_by_noise_rate"),
        "which labels are suspicious, as `filter_by` of cleanlab: `prune_by_noise_rate` takes from each pair \
         of a given and a true label as many rows as the estimated joint has; `prune_by_class` takes the \
         least confident rows of each class; `both` takes what both take; `confident_learning` takes the \
         confident off-diagonal rows; `predicted_neq_given` takes every row that is predicted otherwise",
    ),
    ParamSpec::new(
        "rank",
        ParamKind::Choice(Rank::WORDS),
        Default::Text("self_confidence"),
        "the score by which rows with a suspicious label are sorted, the lowest first",
    ),
    ParamSpec::new(
        "near",
        ParamKind::float(0.5, 1.0),
        Default::Float(0.8),
        "two texts are near-equal if they share at least this part of their character 5-grams (Jaccard), \
         ignoring case and runs of white space",
    ),
    ParamSpec::new(
        "neighbours",
        ParamKind::int(0, 20),
        Default::Int(3),
        "how many similar training texts are shown with each suspicious row",
    ),
    ParamSpec::new(
        "bootstrap",
        ParamKind::int(2, 100_000),
        Default::Int(1000),
        "how many times the rows are resampled for the intervals of surface features",
    ),
    ParamSpec::new(
        "confidence",
        ParamKind::float(0.5, 0.999),
        Default::Float(0.95),
        "the confidence level of the intervals",
    ),
    ParamSpec::new(
        "seed",
        ParamKind::int(0, i64::MAX),
        Default::Int(42),
        "the seed of the resampling",
    ),
];

/// The parameters of `audit`, parsed.
#[derive(Clone, Debug)]
pub struct AuditParams {
    pub filter: Filter,
    pub rank: Rank,
    /// The least similarity of near-equal texts.
    pub near: f64,
    pub neighbours: usize,
    pub replicates: usize,
    pub confidence: f64,
    pub seed: u64,
}

impl AuditParams {
    pub fn of(params: &Params) -> AuditParams {
        AuditParams {
            filter: Filter::of(params, "filter"),
            rank: Rank::of(params, "rank"),
            near: params.float("near"),
            neighbours: params.count("neighbours"),
            replicates: params.count("bootstrap"),
            confidence: params.float("confidence"),
            seed: params.int("seed").unsigned_abs(),
        }
    }
}

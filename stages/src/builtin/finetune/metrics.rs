//! The metrics that `finetune` records of every epoch, and the comparison of epochs by them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::params::Metric;
use crate::train::evaluation::Evaluation;

/// A line of `metrics.jsonl`. It holds no times, because equal runs must write equal bytes; times
/// are in the stage's record.
#[derive(Serialize)]
pub struct EpochMetrics {
    pub epoch: u64,
    pub steps: u64,
    pub learning_rate: f64,
    pub train_loss: f64,
    #[serde(flatten)]
    pub valid: Option<ValidMetrics>,
}

#[derive(Serialize)]
pub struct ValidMetrics {
    valid_loss: f64,
    valid_accuracy: f64,
    valid_precision: f64,
    valid_recall: f64,
    valid_f1: f64,
}

impl From<Evaluation> for ValidMetrics {
    fn from(of: Evaluation) -> ValidMetrics {
        ValidMetrics {
            valid_loss: of.loss,
            valid_accuracy: of.accuracy,
            valid_precision: of.precision,
            valid_recall: of.recall,
            valid_f1: of.f1,
        }
    }
}

impl Metric {
    /// The metric of an evaluation, negated if smaller is better.
    pub fn rank(self, evaluation: &Evaluation) -> f64 {
        match self {
            Metric::Loss => -evaluation.loss,
            Metric::Accuracy => evaluation.accuracy,
            Metric::Precision => evaluation.precision,
            Metric::Recall => evaluation.recall,
            Metric::F1 => evaluation.f1,
        }
    }

    /// The same of the figures of a line of `metrics.jsonl`; the lowest value if the line lacks
    /// the metric.
    pub fn rank_of_line(self, figures: &BTreeMap<String, f64>) -> f64 {
        let (name, sign) = match self {
            Metric::Loss => ("valid_loss", -1.0),
            Metric::Accuracy => ("valid_accuracy", 1.0),
            Metric::Precision => ("valid_precision", 1.0),
            Metric::Recall => ("valid_recall", 1.0),
            Metric::F1 => ("valid_f1", 1.0),
        };
        figures.get(name).map_or(f64::MIN, |figure| sign * figure)
    }
}

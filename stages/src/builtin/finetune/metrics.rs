//! The metrics that `finetune` records of every epoch, and the comparison of epochs by them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::params::Metric;
use crate::data::classification::Headline;
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

/// The figures of an evaluation. Those with the headline's names say by these what they are of.
pub struct ValidMetrics {
    of: Evaluation,
    headline: Headline,
}

impl ValidMetrics {
    pub fn new(of: Evaluation, headline: &Headline) -> ValidMetrics {
        ValidMetrics { of, headline: headline.clone() }
    }
}

impl Serialize for ValidMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Evaluation { loss, accuracy, figures } = self.of;
        let named = |figure| format!("valid_{}", self.headline.name(figure));
        serializer.collect_map([
            ("valid_loss".to_owned(), loss),
            ("valid_accuracy".to_owned(), accuracy),
            (named("precision"), figures.precision),
            (named("recall"), figures.recall),
            (named("f1"), figures.f1),
        ])
    }
}

impl Metric {
    /// The metric of an evaluation, negated if smaller is better.
    pub fn rank(self, evaluation: &Evaluation) -> f64 {
        match self {
            Metric::Loss => -evaluation.loss,
            Metric::Accuracy => evaluation.accuracy,
            Metric::Precision => evaluation.figures.precision,
            Metric::Recall => evaluation.figures.recall,
            Metric::F1 => evaluation.figures.f1,
        }
    }

    /// The same of the figures of a line of `metrics.jsonl`; the lowest value if the line lacks
    /// the metric.
    pub fn rank_of_line(self, figures: &BTreeMap<String, f64>, headline: &Headline) -> f64 {
        let (name, sign) = match self {
            Metric::Loss => ("loss".to_owned(), -1.0),
            Metric::Accuracy => ("accuracy".to_owned(), 1.0),
            Metric::Precision => (headline.name("precision"), 1.0),
            Metric::Recall => (headline.name("recall"), 1.0),
            Metric::F1 => (headline.name("f1"), 1.0),
        };
        figures.get(&format!("valid_{name}")).map_or(f64::MIN, |figure| sign * figure)
    }
}

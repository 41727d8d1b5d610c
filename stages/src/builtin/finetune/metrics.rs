//! The metrics that `finetune` records of every epoch, and the comparison of epochs by them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::choices::Metric;
use crate::data::classification::Headline;
use crate::train::evaluation::Evaluation;
use crate::train::task_evaluation::NamedFigures;

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

/// The figures of an evaluation, `valid_loss` and so on. Those with the headline's names say by these
/// what they are of.
pub struct ValidMetrics(Vec<(String, f64)>);

impl ValidMetrics {
    pub fn new(of: &Evaluation, headline: &Headline) -> ValidMetrics {
        let Evaluation { loss, accuracy, figures } = *of;
        let named = |figure| format!("valid_{}", headline.name(figure));
        ValidMetrics(vec![
            ("valid_loss".to_owned(), loss),
            ("valid_accuracy".to_owned(), accuracy),
            (named("precision"), figures.precision),
            (named("recall"), figures.recall),
            (named("f1"), figures.f1),
        ])
    }

    /// Figures of another task than one label a text.
    pub fn of_figures(figures: NamedFigures) -> ValidMetrics {
        let named = |(name, value)| (format!("valid_{name}"), value);
        ValidMetrics(figures.into_iter().map(named).collect())
    }
}

impl Serialize for ValidMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Metric {
    /// The metric of an evaluation, negated if smaller is better.
    pub fn rank(self, evaluation: &ValidMetrics, headline: &Headline) -> f64 {
        self.rank_of_line(&evaluation.0.iter().cloned().collect(), headline)
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
            Metric::Pearson => ("pearson".to_owned(), 1.0),
            Metric::Spearman => ("spearman".to_owned(), 1.0),
            Metric::Rmse => ("rmse".to_owned(), -1.0),
            Metric::Mae => ("mae".to_owned(), -1.0),
        };
        figures.get(&format!("valid_{name}")).map_or(f64::MIN, |figure| sign * figure)
    }
}

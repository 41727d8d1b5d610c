//! What `finetune` writes down of every epoch.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::train::evaluation::Evaluation;

/// A line of `metrics.jsonl`. How long an epoch took is not in it, since equal runs make equal
/// bytes; it is in the stage's record.
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

/// The figure to make as large as possible.
pub fn figure(evaluation: &Evaluation, metric: &str) -> f64 {
    match metric {
        "loss" => -evaluation.loss,
        "accuracy" => evaluation.accuracy,
        "precision" => evaluation.precision,
        "recall" => evaluation.recall,
        _ => evaluation.f1,
    }
}

/// The row's figures and the epoch's timing, for the record.
pub fn values_of(row: &EpochMetrics, timing: &[(&str, f64)]) -> BTreeMap<String, f64> {
    let json = serde_json::to_value(row).unwrap_or_default();
    let figures = json.as_object().into_iter().flatten();
    let figures = figures.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
    figures.chain(timing.iter().map(|(name, value)| ((*name).to_owned(), *value))).collect()
}

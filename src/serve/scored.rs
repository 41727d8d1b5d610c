//! The scores of a text as clients expect them: labels with numbers, the highest first.

use serde_json::{Value, json};
use stages::builtin::classify::TextScores;
use stages::data::task::Task;

use crate::serve::model::ServedModel;

/// What is applied to the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outputs {
    /// As `predict` does: softmax or sigmoid, or nothing if the model gives a number.
    OfTask,
    Raw,
    Sigmoid,
    Softmax,
}

/// `{"label": …, "score": …}` for each label. Scores of [`Outputs::OfTask`] are the probabilities that
/// `predict` writes.
pub fn scored(model: &ServedModel, scores: &TextScores, outputs: Outputs) -> Vec<Value> {
    let labels = model.classifier.labels();
    let mut all: Vec<(&String, f64)> = match outputs {
        Outputs::OfTask if model.classifier.task() != Task::Regression => {
            let found = model.classifier.decide(String::new(), scores).probabilities;
            let mut names: Vec<&String> = Vec::new();
            for label in labels {
                if !names.contains(&label) {
                    names.push(label);
                }
            }
            let probability = |label: &String| found.get(label).copied().unwrap_or_default();
            names.into_iter().map(|label| (label, probability(label))).collect()
        }
        _ => labels.iter().zip(applied(&scores.logits, outputs)).collect(),
    };
    // Stable: equal scores stay in the order of the classes.
    all.sort_by(|left, right| right.1.total_cmp(&left.1));
    all.into_iter().map(|(label, score)| json!({ "label": label, "score": score })).collect()
}

fn applied(logits: &[f32], outputs: Outputs) -> Vec<f64> {
    let logits = logits.iter().map(|logit| f64::from(*logit));
    match outputs {
        Outputs::OfTask | Outputs::Raw => logits.collect(),
        Outputs::Sigmoid => logits.map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        Outputs::Softmax => {
            let most = logits.clone().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = logits.map(|logit| (logit - most).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.into_iter().map(|power| power / sum).collect()
        }
    }
}

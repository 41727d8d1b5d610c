//! Turns class probabilities into a prediction: the names of the labels, and the threshold.

use std::collections::BTreeMap;
use std::path::Path;

use super::params::{PredictParams, ThresholdParam};
use crate::data::prediction::Prediction;
use crate::data::target::Target;
use crate::data::task::Task;
use crate::data::threshold::is_positive;
use crate::model::config::{DECISION_THRESHOLDS, DecisionThreshold, ModelConfig};
use crate::model::head::CheckpointHead;
use crate::stage::error::StageError;
use crate::train::evaluation::argmax;

/// How a model's probabilities become labels.
pub struct Deciding {
    /// The label of each class: the model's own names, mapped by `label_map`. Several classes may
    /// have the same label.
    pub labels: Vec<String>,
    /// What is predicted.
    pub task: Task,
    /// For one of two labels; `None`: the likeliest label is predicted.
    pub threshold: Option<DecisionThreshold>,
    /// For several labels a text: the threshold of each.
    pub thresholds: Vec<f64>,
    /// Whether the labels have the names that `transformers` invents, because neither the model
    /// nor `label_map` has others.
    pub unnamed: bool,
}

impl Deciding {
    /// How the model in `folder` decides with these parameters.
    ///
    /// # Errors
    /// The model has no head, or one of another kind; `label_map` names an unknown label; or there
    /// is a threshold but not two labels.
    pub fn new(
        folder: &Path,
        config: &ModelConfig,
        params: &PredictParams,
    ) -> Result<Deciding, StageError> {
        let head = CheckpointHead::required(folder, config)?;
        let labels = head.mapped(&params.label_map)?;
        let (threshold, thresholds) = match head.task {
            Task::Single => (threshold(params.threshold, config, &labels)?, Vec::new()),
            Task::Multi => (None, thresholds(params.threshold, config, &labels)?),
            Task::Regression if matches!(params.threshold, ThresholdParam::Given(_)) => {
                let problem = "the model predicts a number, which no threshold decides".to_owned();
                return Err(StageError::Param { name: "threshold", problem });
            }
            Task::Regression => (None, Vec::new()),
        };
        let unnamed = !head.named && labels == head.labels;
        Ok(Deciding { labels, task: head.task, threshold, thresholds, unnamed })
    }

    /// The prediction for one example from the probability of each class, or from its number.
    pub fn prediction(&self, id: String, values: &[f32], gold: Option<Target>) -> Prediction {
        let labels = &self.labels;
        if self.task == Task::Regression {
            let number = values.first().copied().map_or(0.0, f64::from);
            let (label, probabilities) = (Target::Number(number), BTreeMap::new());
            return Prediction { id, label, probabilities, gold };
        }
        let probabilities = probabilities_by_label(labels, values);
        if self.task == Task::Multi {
            let each = labels.iter().zip(&self.thresholds);
            let chosen = each.filter(|(label, it)| is_positive(probabilities[*label], **it));
            let label = Target::of_labels(chosen.map(|(label, _)| label.clone()).collect());
            return Prediction { id, label, probabilities, gold };
        }
        let label = match self.threshold {
            Some(DecisionThreshold { value, class }) => {
                let is_of_class = is_positive(probabilities[&labels[class]], value);
                labels[if is_of_class { class } else { 1 - class }].clone()
            }
            None => likeliest(labels, &probabilities),
        };
        Prediction { id, label: label.into(), probabilities, gold }
    }
}

/// The threshold of each label.
///
/// # Errors
/// The config has another number of them, or two labels have the same name.
fn thresholds(
    wanted: ThresholdParam,
    config: &ModelConfig,
    labels: &[String],
) -> Result<Vec<f64>, StageError> {
    let mut sorted: Vec<&String> = labels.iter().collect();
    sorted.sort();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let problem = format!(
            "it gives two labels the name `{}`, and a text may have either, both or none",
            twice[0]
        );
        return Err(StageError::Param { name: "label_map", problem });
    }
    let all = |value| Ok(vec![value; labels.len()]);
    match wanted {
        ThresholdParam::Given(value) => all(value),
        ThresholdParam::Auto if !config.head.thresholds.is_empty() => {
            let found = &config.head.thresholds;
            if found.len() != labels.len() {
                let problem = format!(
                    "`{DECISION_THRESHOLDS}` of the model has {} numbers for {} labels",
                    found.len(),
                    labels.len()
                );
                return Err(StageError::Param { name: "threshold", problem });
            }
            Ok(found.clone())
        }
        ThresholdParam::Auto | ThresholdParam::None => all(0.5),
    }
}

/// The threshold to decide by, if there is one.
fn threshold(
    wanted: ThresholdParam,
    config: &ModelConfig,
    labels: &[String],
) -> Result<Option<DecisionThreshold>, StageError> {
    let threshold = match wanted {
        ThresholdParam::Auto => config.head.threshold,
        ThresholdParam::None => None,
        ThresholdParam::Given(value) => Some(DecisionThreshold { value, class: 1 }),
    };
    if threshold.is_some() && (labels.len() != 2 || labels[0] == labels[1]) {
        let problem = format!("a threshold is for two labels, there are: {}", labels.join(", "));
        return Err(StageError::Param { name: "threshold", problem });
    }
    Ok(threshold)
}

/// The probability of each label: the sum over the classes that are mapped to it.
fn probabilities_by_label(labels: &[String], values: &[f32]) -> BTreeMap<String, f64> {
    let mut result = BTreeMap::new();
    for (label, value) in labels.iter().zip(values) {
        *result.entry(label.clone()).or_insert(0.0) += f64::from(*value);
    }
    result
}

/// The label with the highest probability; the one of the first class in a tie.
fn likeliest(labels: &[String], probabilities: &BTreeMap<String, f64>) -> String {
    let values: Vec<f64> = labels.iter().map(|label| probabilities[label]).collect();
    labels[argmax(&values)].clone()
}

//! Turns class probabilities into a prediction: the names of the labels, and the threshold.

use std::collections::BTreeMap;
use std::path::Path;

use super::params::{PredictParams, ThresholdParam};
use crate::data::prediction::Prediction;
use crate::data::threshold::is_positive;
use crate::model::config::{DecisionThreshold, ModelConfig};
use crate::model::head::CheckpointHead;
use crate::stage::error::StageError;
use crate::train::evaluation::argmax;

/// How a model's probabilities become labels.
pub struct Deciding {
    /// The label of each class: the model's own names, mapped by `label_map`. Several classes may
    /// have the same label.
    pub labels: Vec<String>,
    /// `None`: the likeliest label is predicted.
    pub threshold: Option<DecisionThreshold>,
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
        let threshold = threshold(params.threshold, config, &labels)?;
        let unnamed = !head.named && labels == head.labels;
        Ok(Deciding { labels, threshold, unnamed })
    }

    /// The prediction for one example from the probability of each class.
    pub fn prediction(&self, id: String, values: &[f32], gold: Option<String>) -> Prediction {
        let labels = &self.labels;
        let probabilities = probabilities_by_label(labels, values);
        let label = match self.threshold {
            Some(DecisionThreshold { value, class }) => {
                let is_of_class = is_positive(probabilities[&labels[class]], value);
                labels[if is_of_class { class } else { 1 - class }].clone()
            }
            None => likeliest(labels, &probabilities),
        };
        Prediction { id, label, probabilities, gold }
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

//! Turns class probabilities into a prediction: the names of the labels, and the threshold.

use std::collections::BTreeMap;
use std::path::Path;

use super::params::{PredictParams, ThresholdParam};
use crate::data::prediction::Prediction;
use crate::data::threshold::is_positive;
use crate::model::classifier::last_weight;
use crate::model::config::ModelConfig;
use crate::model::weight_files::Checkpoint;
use crate::stage::error::StageError;
use crate::train::evaluation::argmax;

/// How a model's probabilities become labels.
pub struct Deciding {
    /// The label of each class: the model's own names, mapped by `label_map`. Several classes may
    /// have the same label.
    pub labels: Vec<String>,
    /// The last of two labels is predicted if its probability exceeds this threshold. `None`: the
    /// likeliest label is predicted.
    pub threshold: Option<f64>,
}

impl Deciding {
    /// How the model in `folder` decides with these parameters.
    ///
    /// # Errors
    /// `label_map` names an unknown label, or there is a threshold but not two labels.
    pub fn new(
        folder: &Path,
        config: &ModelConfig,
        params: &PredictParams,
    ) -> Result<Deciding, StageError> {
        let labels = labels(folder, config, &params.label_map)?;
        let threshold = threshold(params.threshold, config, &labels)?;
        Ok(Deciding { labels, threshold })
    }

    /// The prediction for one example from the probability of each class.
    pub fn prediction(&self, id: String, values: &[f32], gold: Option<String>) -> Prediction {
        let labels = &self.labels;
        let probabilities = probabilities_by_label(labels, values);
        let label = match self.threshold {
            Some(threshold) => {
                labels[usize::from(is_positive(probabilities[&labels[1]], threshold))].clone()
            }
            None => likeliest(labels, &probabilities),
        };
        Prediction { id, label, probabilities, gold }
    }
}

/// The label of each class.
fn labels(
    folder: &Path,
    config: &ModelConfig,
    map: &BTreeMap<String, String>,
) -> Result<Vec<String>, StageError> {
    let own = if config.head.labels.is_empty() {
        // transformers invents the same names for a checkpoint without names.
        let checkpoint = Checkpoint::open(folder)?;
        let classes =
            checkpoint.get(last_weight(config.family)).map_or(2, |tensor| tensor.shape[0]);
        (0..classes).map(|class| format!("LABEL_{class}")).collect()
    } else {
        config.head.labels.clone()
    };
    if let Some(unknown) = map.keys().find(|name| !own.contains(name)) {
        return Err(StageError::Param {
            name: "label_map",
            problem: format!("the model has no label `{unknown}`; it has {}", own.join(", ")),
        });
    }
    Ok(own.into_iter().map(|name| map.get(&name).cloned().unwrap_or(name)).collect())
}

/// The threshold to decide by, if there is one.
fn threshold(
    wanted: ThresholdParam,
    config: &ModelConfig,
    labels: &[String],
) -> Result<Option<f64>, StageError> {
    let threshold = match wanted {
        ThresholdParam::Auto => config.head.decision_threshold,
        ThresholdParam::None => None,
        ThresholdParam::Given(threshold) => Some(threshold),
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

//! From class probabilities to a prediction: the names of the labels, and the threshold.

use std::collections::BTreeMap;
use std::path::Path;

use crate::data::prediction::Prediction;
use crate::data::threshold::is_positive;
use crate::model::checkpoint::Checkpoint;
use crate::model::classifier::last_weight;
use crate::model::config::ModelConfig;
use crate::stage::error::StageError;
use crate::stage::params::Params;
use crate::train::evaluation::argmax;

/// How a model's probabilities become labels.
pub struct Deciding {
    /// The label of each class: the model's own names, mapped.
    pub labels: Vec<String>,
    /// From which probability on the last of two labels is predicted, if not simply the likelier.
    pub threshold: Option<f64>,
}

impl Deciding {
    /// As the model folder and the parameters of `predict` have it.
    pub fn new(
        folder: &Path,
        config: &ModelConfig,
        params: &Params,
    ) -> Result<Deciding, StageError> {
        let labels = labels(folder, config, &params.text_map("label_map"))?;
        let threshold = threshold(params, config, &labels)?;
        Ok(Deciding { labels, threshold })
    }

    /// What these probabilities of the classes say.
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

/// The label of each class: the model's own names, mapped.
fn labels(
    folder: &Path,
    config: &ModelConfig,
    map: &BTreeMap<String, String>,
) -> Result<Vec<String>, StageError> {
    let own = if config.labels.is_empty() {
        // A checkpoint without names: transformers calls them so too.
        let checkpoint = Checkpoint::open(folder)?;
        let classes =
            checkpoint.get(last_weight(config.family)).map_or(2, |tensor| tensor.shape[0]);
        (0..classes).map(|class| format!("LABEL_{class}")).collect()
    } else {
        config.labels.clone()
    };
    if let Some(unknown) = map.keys().find(|name| !own.contains(name)) {
        return Err(StageError::Param {
            name: "label_map",
            problem: format!("the model has no label `{unknown}`; it has {}", own.join(", ")),
        });
    }
    Ok(own.into_iter().map(|name| map.get(&name).cloned().unwrap_or(name)).collect())
}

/// From which probability on the last of two labels is predicted, if not simply the likelier
/// one.
fn threshold(
    params: &Params,
    config: &ModelConfig,
    labels: &[String],
) -> Result<Option<f64>, StageError> {
    let wanted = match params.optional_text("threshold") {
        Some("auto") => config.decision_threshold,
        Some(_) => None,
        None => params.optional_float("threshold"),
    };
    if wanted.is_some() && (labels.len() != 2 || labels[0] == labels[1]) {
        let problem = format!("a threshold is for two labels, there are: {}", labels.join(", "));
        return Err(StageError::Param { name: "threshold", problem });
    }
    Ok(wanted)
}

/// Classes that are mapped to one label add up.
fn probabilities_by_label(labels: &[String], values: &[f32]) -> BTreeMap<String, f64> {
    let mut result = BTreeMap::new();
    for (label, value) in labels.iter().zip(values) {
        *result.entry(label.clone()).or_insert(0.0) += f64::from(*value);
    }
    result
}

/// The label of the highest probability; of equals the one of the first class.
fn likeliest(labels: &[String], probabilities: &BTreeMap<String, f64>) -> String {
    let values: Vec<f64> = labels.iter().map(|label| probabilities[label]).collect();
    labels[argmax(&values)].clone()
}

//! A row of predictions: what `predict` writes and `score` reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a model says of one example. A line of JSON in this order of fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    pub id: String,
    /// The predicted label.
    pub label: String,
    /// A probability for each label that the model knows; they sum to 1.
    #[serde(default)]
    pub probabilities: BTreeMap<String, f64>,
    /// The true label, where it is known.
    #[serde(default)]
    pub gold: Option<String>,
}

//! The output `metrics.json`, and the metrics of the record.

use std::collections::BTreeMap;

use serde::Serialize;

use super::examples::Classes;
use super::logistic::Logistic;
use crate::data::classification::f1;
use crate::data::prediction::Prediction;

/// The number of features to list for each label.
const LISTED: usize = 25;

/// The content of `metrics.json`.
#[derive(Clone, Debug, Serialize)]
pub struct BaselineMetrics {
    pub kind: &'static str,
    pub labels: Vec<String>,
    pub features: usize,
    pub train: Option<Quality>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<Quality>,
    /// For `ngram` the loss that training minimised, including its penalty; for `embedding` the
    /// mean loss of the last epoch.
    pub loss: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converged: Option<bool>,
    /// For each label, the features with the greatest weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strongest: Option<BTreeMap<String, Vec<(String, f64)>>>,
}

/// The quality of predictions, over the rows with a true label.
#[derive(Clone, Debug, Serialize)]
pub struct Quality {
    /// The number of rows with a true label.
    pub labelled: usize,
    pub accuracy: f64,
    /// F1 of the last of two labels, or the mean over more labels.
    pub f1: f64,
}

impl Quality {
    pub fn of(rows: &[Prediction], classes: &Classes) -> Quality {
        let labelled = rows.iter().filter_map(|row| Some((row.gold.as_ref()?, &row.label)));
        let labelled: Vec<(&String, &String)> = labelled.collect();
        let correct = labelled.iter().filter(|(gold, found)| gold == found).count();
        let label_f1 = |label: &String| {
            let count = |wanted: fn(bool, bool) -> bool| {
                let rows =
                    labelled.iter().filter(|(gold, it)| wanted(*gold == label, *it == label));
                rows.count() as u64
            };
            f1(count(|gold, it| gold && it), count(|gold, _| gold), count(|_, it| it)).value()
        };
        let of_f1 = if classes.names.len() == 2 { &classes.names[1..] } else { &classes.names[..] };
        Quality {
            labelled: labelled.len(),
            accuracy: correct as f64 / labelled.len().max(1) as f64,
            f1: of_f1.iter().map(label_f1).sum::<f64>() / of_f1.len() as f64,
        }
    }
}

impl BaselineMetrics {
    /// The metrics for the record.
    pub fn for_record(&self) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        values.insert("features".to_owned(), self.features as f64);
        values.insert("loss".to_owned(), self.loss);
        let parts = [("train", &self.train), ("valid", &self.valid)];
        for (name, quality) in parts {
            let Some(quality) = quality.as_ref().filter(|it| it.labelled > 0) else { continue };
            values.insert(format!("{name}_accuracy"), quality.accuracy);
            values.insert(format!("{name}_f1"), quality.f1);
        }
        values.extend(self.iterations.map(|it| ("iterations".to_owned(), it as f64)));
        values
    }
}

/// For each label, the features with the greatest weights, the greatest first.
pub fn strongest(
    model: &Logistic,
    labels: &[String],
    names: &[String],
) -> BTreeMap<String, Vec<(String, f64)>> {
    let of_class = |class: usize| -> Vec<(String, f64)> {
        let weights: Vec<f64> = match model.weights.as_slice() {
            [only] if class == 0 => only.iter().map(|weight| -weight).collect(),
            [only] => only.clone(),
            many => many[class].clone(),
        };
        let mut order: Vec<usize> = (0..weights.len()).collect();
        order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
        let listed = order.into_iter().filter(|&it| weights[it] > 0.0).take(LISTED);
        listed.map(|it| (names[it].clone(), weights[it])).collect()
    };
    labels.iter().enumerate().map(|(class, label)| (label.clone(), of_class(class))).collect()
}

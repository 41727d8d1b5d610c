//! The output `metrics.json`, and the metrics of the record.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::examples::Classes;
use super::logistic::Logistic;
use crate::data::classification::{Headline, Margins};
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
    /// F1 of the positive label; absent with more than two labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// Absent with two labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive: Option<String>,
}

impl Quality {
    /// The labels are those of the model and of the rows. `positive` is the declared one.
    pub fn of(rows: &[Prediction], classes: &Classes, positive: Option<&str>) -> Quality {
        let labelled = || {
            rows.iter().filter_map(|row| Some((row.gold.as_ref()?.label()?, row.label.label()?)))
        };
        let known =
            classes.names.iter().map(String::as_str).chain(labelled().map(|(gold, _)| gold));
        let names: Vec<&str> = known.collect::<BTreeSet<&str>>().into_iter().collect();
        let place = |label: &str| names.partition_point(|name| *name < label) as u16;
        let cells = labelled().map(|(gold, label)| ((place(gold), place(label)), 1));
        let margins = Margins::new(names.len(), cells);
        let headline = Headline::of(names.iter().copied(), positive);
        let f1 = headline.figures(&margins, names.iter().copied()).f1;
        let is_macro = headline == Headline::Macro;
        Quality {
            labelled: labelled().count(),
            accuracy: margins.accuracy(),
            f1: (!is_macro).then_some(f1),
            macro_f1: is_macro.then_some(f1),
            positive: headline.positive().map(str::to_owned),
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
            values.extend(quality.f1.map(|f1| (format!("{name}_f1"), f1)));
            values.extend(quality.macro_f1.map(|f1| (format!("{name}_macro_f1"), f1)));
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

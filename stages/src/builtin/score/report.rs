//! Computes the figures of `scores.json`, and emits the metrics for the record.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bootstrap::{Intervals, intervals};
use super::confusion::ConfusionCounts;
use super::paired_comparison::PairedComparison;
use super::params::ScoreParams;
use super::ranking::Ranking;
use super::tally::PredictionTally;
use crate::data::classification::ClassFigures;
use crate::stage::Context;
use crate::stage::event::Event;

/// `scores.json`.
#[derive(Serialize)]
pub struct Scores {
    #[serde(flatten)]
    pub inputs: BTreeMap<&'static str, InputScore>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

#[derive(Serialize)]
pub struct Against {
    /// The input that is compared with `against`.
    pub input: &'static str,
    #[serde(flatten)]
    pub comparison: PairedComparison,
}

/// The scores of one input.
#[derive(Serialize)]
#[serde(untagged)]
pub enum InputScore {
    Labelled(Box<LabelledScore>),
    Unlabelled { rows: u64, labelled: u64, note: &'static str },
}

#[derive(Serialize)]
pub struct LabelledScore {
    rows: u64,
    /// The rows with a true label. All figures are of these rows.
    labelled: u64,
    /// The labels that occur as true or as predicted labels, in alphabetical order.
    labels: Vec<String>,
    accuracy: f64,
    positive: Positive,
    /// The mean over the labels.
    r#macro: ClassFigures,
    /// The mean over the labels, weighted by their rows.
    weighted: ClassFigures,
    per_class: BTreeMap<String, PerClass>,
    confusion_matrix: ConfusionMatrix,
    matthews_correlation: f64,
    /// The mean of -ln p of the true label; null if a row has no probabilities.
    log_loss: Option<f64>,
    /// `roc_auc` and `average_precision` of the positive label; both null if a row has no
    /// probabilities.
    #[serde(flatten)]
    ranking: Ranking,
    /// Both are null if a row has no probabilities.
    brier_score: Option<f64>,
    expected_calibration_error: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<Intervals>,
}

#[derive(Serialize)]
pub struct Positive {
    label: String,
    #[serde(flatten)]
    figures: ClassFigures,
}

#[derive(Serialize)]
pub struct PerClass {
    #[serde(flatten)]
    figures: ClassFigures,
    /// The rows that have the label.
    support: u64,
}

#[derive(Serialize)]
pub struct ConfusionMatrix {
    labels: Vec<String>,
    rows: &'static str,
    columns: &'static str,
    counts: Vec<Vec<u64>>,
}

/// Computes the scores of one input. Labels are in alphabetical order, so that the result does not
/// depend on the order of the rows.
pub fn score(
    params: &ScoreParams,
    input: &str,
    tally: &PredictionTally,
    positive: &str,
    ranking: Ranking,
) -> InputScore {
    let (rows, labelled) = (tally.rows, tally.labelled);
    if labelled == 0 {
        return InputScore::Unlabelled { rows, labelled, note: "no gold labels" };
    }
    let (names, places) = tally.labels.alphabetical(positive);
    let place = |number: u16| places[usize::from(number)];
    let with_probabilities = tally.without_probabilities == 0;
    let cells = tally.counts.cells.iter();
    let counts = ConfusionCounts {
        labels: names.len(),
        cells: cells.map(|(&(gold, it), &count)| ((place(gold), place(it)), count)).collect(),
    };
    let margins = counts.margins();
    let positive_place = names.partition_point(|name| *name < positive);
    let occurring: Vec<usize> = (0..names.len()).filter(|&it| margins.occurs(it)).collect();
    let labels: Vec<String> = occurring.iter().map(|&it| names[it].to_owned()).collect();
    let matrix = counts.matrix();
    InputScore::Labelled(Box::new(LabelledScore {
        rows,
        labelled,
        labels: labels.clone(),
        accuracy: margins.accuracy(),
        positive: Positive { label: positive.to_owned(), figures: margins.figures(positive_place) },
        r#macro: margins.macro_average(),
        weighted: margins.weighted_average(),
        per_class: occurring
            .iter()
            .map(|&it| {
                let class = PerClass { figures: margins.figures(it), support: margins.gold[it] };
                (names[it].to_owned(), class)
            })
            .collect(),
        confusion_matrix: ConfusionMatrix {
            labels,
            rows: "gold",
            columns: "predicted",
            counts: occurring
                .iter()
                .map(|&gold| occurring.iter().map(|&it| matrix[gold][it]).collect())
                .collect(),
        },
        matthews_correlation: margins.matthews_correlation(),
        log_loss: with_probabilities.then(|| tally.loss_sum / labelled as f64),
        ranking,
        brier_score: with_probabilities.then(|| tally.calibration.brier(tally.labels.len())),
        expected_calibration_error: with_probabilities.then(|| tally.calibration.expected_error()),
        intervals: (params.replicates > 0)
            .then(|| intervals(&counts, positive_place, params, input)),
    }))
}

/// Emits the metrics, named `valid_f1` and so on. `precision`, `recall` and `f1` are of the
/// positive label.
pub fn emit_metrics(context: &Context, scores: &Scores) {
    let mut values = BTreeMap::new();
    for (input, score) in &scores.inputs {
        match score {
            InputScore::Unlabelled { rows, .. } => {
                let message = format!("`{input}`: {rows} predictions, none with a true label");
                context.emit(Event::Note { message });
            }
            InputScore::Labelled(score) => {
                let named = |(name, value)| (format!("{input}_{name}"), value);
                values.extend(labelled_metrics(score).into_iter().map(named));
            }
        }
    }
    if let Some(Against { comparison, .. }) = &scores.against {
        let figures = [("accuracy", &comparison.accuracy), ("f1", &comparison.f1)];
        for (name, figure) in figures {
            values.insert(format!("{name}_difference"), figure.difference);
            let [low, high] = figure.interval.map_or([None; 2], |ends| ends.map(Some));
            for (end, value) in [("low", low), ("high", high), ("p", figure.p)] {
                values.extend(value.map(|value| (format!("{name}_difference_{end}"), value)));
            }
        }
        values.insert("mcnemar_p".to_owned(), comparison.mcnemar.exact_p);
    }
    if !values.is_empty() {
        context.emit(Event::Metrics { step: None, values });
    }
}

fn labelled_metrics(score: &LabelledScore) -> Vec<(&'static str, f64)> {
    let positive = &score.positive.figures;
    let mut values = vec![
        ("accuracy", score.accuracy),
        ("precision", positive.precision),
        ("recall", positive.recall),
        ("f1", positive.f1),
        ("macro_f1", score.r#macro.f1),
    ];
    let further = [
        ("log_loss", score.log_loss),
        ("roc_auc", score.ranking.roc_auc),
        ("average_precision", score.ranking.average_precision),
        ("brier_score", score.brier_score),
        ("calibration_error", score.expected_calibration_error),
    ];
    values.extend(further.into_iter().filter_map(|(name, value)| Some((name, value?))));
    if let Some(intervals) = &score.intervals {
        let ([accuracy_low, accuracy_high], [f1_low, f1_high]) = (intervals.accuracy, intervals.f1);
        values.extend([("accuracy_low", accuracy_low), ("accuracy_high", accuracy_high)]);
        values.extend([("f1_low", f1_low), ("f1_high", f1_high)]);
    }
    values
}

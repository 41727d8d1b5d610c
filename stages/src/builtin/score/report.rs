//! Computes the figures of `scores.json`, and emits the metrics for the record.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bootstrap::{Intervals, intervals};
use super::confusion::ConfusionCounts;
use super::multi::MultiScore;
use super::paired_comparison::PairedComparison;
use super::params::ScoreParams;
use super::ranking::Ranking;
use super::regression::RegressionScore;
use super::tally::PredictionTally;
use crate::data::classification::{ClassFigures, Headline};
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
    Multi(Box<MultiScore>),
    Regression(Box<RegressionScore>),
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
    /// The name of the figure that stands for all: `f1` of the positive label, or `macro_f1`.
    headline: String,
    /// `null` if there are more than two labels and none was named.
    positive: Option<Positive>,
    /// The mean over the labels.
    r#macro: ClassFigures,
    /// The mean over the labels, weighted by their rows.
    weighted: ClassFigures,
    per_class: BTreeMap<String, PerClass>,
    confusion_matrix: ConfusionMatrix,
    matthews_correlation: f64,
    /// The mean of -ln p of the true label; null if a row has no probabilities. A probability
    /// below 2.2e-16 counts as 2.2e-16, as with scikit-learn: the logits are not in the file.
    log_loss: Option<f64>,
    /// `roc_auc` and `average_precision` of the positive label; both null if a row has no
    /// probabilities, or there is no positive label.
    #[serde(flatten)]
    ranking: Ranking,
    #[serde(flatten)]
    calibration: CalibrationFigures,
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<Intervals>,
}

#[derive(Serialize)]
pub struct Positive {
    label: String,
    #[serde(flatten)]
    figures: ClassFigures,
}

/// Both are null if a row has no probabilities.
#[derive(Serialize)]
pub struct CalibrationFigures {
    brier_score: Option<f64>,
    expected_calibration_error: Option<f64>,
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
    of: &InputHeadline,
    ranking: Ranking,
) -> InputScore {
    let (rows, labelled) = (tally.rows, tally.labelled);
    if labelled == 0 {
        return unlabelled(rows);
    }
    let positive = of.positive.as_deref();
    let (names, places) = tally.labels.alphabetical(positive);
    let place = |number: u16| places[usize::from(number)];
    let with_probabilities = tally.without_probabilities == 0;
    let cells = tally.counts.cells.iter();
    let counts = ConfusionCounts {
        labels: names.len(),
        cells: cells.map(|(&(gold, it), &count)| ((place(gold), place(it)), count)).collect(),
    };
    let margins = counts.margins();
    let positive_place = positive.map(|label| names.partition_point(|name| *name < label));
    let occurring: Vec<usize> = (0..names.len()).filter(|&it| margins.occurs(it)).collect();
    let labels: Vec<String> = occurring.iter().map(|&it| names[it].to_owned()).collect();
    let matrix = counts.matrix();
    InputScore::Labelled(Box::new(LabelledScore {
        rows,
        labelled,
        labels: labels.clone(),
        accuracy: margins.accuracy(),
        headline: of.headline.name("f1"),
        positive: positive.zip(positive_place).map(|(label, place)| Positive {
            label: label.to_owned(),
            figures: margins.figures(place),
        }),
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
        calibration: CalibrationFigures {
            brier_score: with_probabilities.then(|| tally.calibration.brier(tally.labels.len())),
            expected_calibration_error: with_probabilities
                .then(|| tally.calibration.expected_error()),
        },
        intervals: (params.replicates > 0)
            .then(|| intervals(&counts, positive_place, params, input)),
    }))
}

/// The score of an input without any true label.
pub fn unlabelled(rows: u64) -> InputScore {
    InputScore::Unlabelled { rows, labelled: 0, note: "no gold labels" }
}

/// What the figures of an input are of.
pub struct InputHeadline {
    pub headline: Headline,
    /// The positive label of two, or the declared one of more.
    pub positive: Option<String>,
}

/// Emits the metrics, named `valid_f1` and so on. With two labels `precision`, `recall` and `f1` are
/// of the positive one. With more they have no such name: there are `macro_f1` and so on, and
/// `positive_f1` and so on of a label that was named.
pub fn emit_metrics(context: &Context, scores: &Scores) {
    let mut values = BTreeMap::new();
    for (input, score) in &scores.inputs {
        let mut add = |figures: Vec<(&'static str, f64)>| {
            values.extend(figures.into_iter().map(|(name, it)| (format!("{input}_{name}"), it)));
        };
        match score {
            InputScore::Unlabelled { rows, .. } => {
                let message = format!("`{input}`: {rows} predictions, none with a true label");
                context.emit(Event::Note { message });
            }
            InputScore::Labelled(score) => {
                if let Some(message) = shows(input, score) {
                    context.emit(Event::Note { message });
                }
                add(labelled_metrics(score));
            }
            InputScore::Multi(score) => add(score.metrics()),
            InputScore::Regression(score) => add(score.metrics()),
        }
    }
    if let Some(Against { comparison, .. }) = &scores.against {
        for (name, figure) in comparison.headlines() {
            values.insert(format!("{name}_difference"), figure.difference);
            let [low, high] = figure.interval.map_or([None; 2], |ends| ends.map(Some));
            let detectable = figure.detectable;
            for (end, value) in
                [("low", low), ("high", high), ("p", figure.p), ("detectable", detectable)]
            {
                values.extend(value.map(|value| (format!("{name}_difference_{end}"), value)));
            }
        }
        values.insert("mcnemar_p".to_owned(), comparison.mcnemar.exact_p);
    }
    if !values.is_empty() {
        context.emit(Event::Metrics { step: None, values });
    }
}

/// What the rows of an input can show, in words.
fn shows(input: &str, score: &LabelledScore) -> Option<String> {
    let detectable = &score.intervals.as_ref()?.detectable;
    let least = match score.headline.as_str() {
        "macro_f1" => detectable.macro_f1,
        _ => detectable.f1,
    };
    // Without any error there is nothing to resample.
    let least = least.filter(|least| *least > 0.0)?;
    // With the name of the stage this is one line of a terminal.
    Some(format!(
        "{} rows of `{input}` show a difference of {least:.3} in {} (80 % power)",
        score.labelled, score.headline
    ))
}

fn labelled_metrics(score: &LabelledScore) -> Vec<(&'static str, f64)> {
    let mut values = vec![("accuracy", score.accuracy), ("macro_f1", score.r#macro.f1)];
    let is_macro = score.headline == "macro_f1";
    if is_macro {
        values.push(("macro_precision", score.r#macro.precision));
        values.push(("macro_recall", score.r#macro.recall));
    }
    if let Some(Positive { figures, .. }) = &score.positive {
        let names = match is_macro {
            true => ["positive_precision", "positive_recall", "positive_f1"],
            false => ["precision", "recall", "f1"],
        };
        values.extend(names.into_iter().zip([figures.precision, figures.recall, figures.f1]));
    }
    let further = [
        ("log_loss", score.log_loss),
        ("roc_auc", score.ranking.roc_auc),
        ("average_precision", score.ranking.average_precision),
        ("brier_score", score.calibration.brier_score),
        ("calibration_error", score.calibration.expected_calibration_error),
    ];
    values.extend(further.into_iter().filter_map(|(name, value)| Some((name, value?))));
    if let Some(intervals) = &score.intervals {
        let of_headline = match is_macro {
            true => ("macro_f1_detectable", intervals.detectable.macro_f1),
            false => ("f1_detectable", intervals.detectable.f1),
        };
        let detectable = [("accuracy_detectable", intervals.detectable.accuracy), of_headline];
        values.extend(detectable.into_iter().filter_map(|(name, it)| Some((name, it?))));
        let [low, high] = intervals.accuracy;
        values.extend([("accuracy_low", low), ("accuracy_high", high)]);
        match intervals.f1 {
            _ if is_macro => {
                let [low, high] = intervals.macro_f1;
                values.extend([("macro_f1_low", low), ("macro_f1_high", high)]);
            }
            Some([low, high]) => values.extend([("f1_low", low), ("f1_high", high)]),
            None => {}
        }
    }
    values
}

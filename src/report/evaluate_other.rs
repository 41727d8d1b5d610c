//! Evaluates rows with several labels a text, or with numbers: the figures, without intervals, and
//! what is drawn of them.

use std::collections::BTreeSet;

use stages::data::multi_label::MultiMargins;
use stages::data::prediction::Prediction;
use stages::data::regression::NumberPairs;
use stages::data::target::Target;
use stages::data::task::Task;
use stages::data::threshold::ScoredRow;

use crate::report::data::{Evaluation, Figure, LabelRow, OtherTask};
use crate::report::evaluate::{MOST_CURVES, curve};

/// The number of points of a scatter plot, at most.
const MOST_DOTS: usize = 1_000;

/// Evaluates rows whose labels belong to `task`, which is not [`Task::Single`].
pub fn evaluate_other(rows: &[Prediction], task: Task) -> Option<Evaluation> {
    let of_task = |row: &&Prediction| {
        row.label.task() == task && row.gold.as_ref().is_some_and(|gold| gold.task() == task)
    };
    let labelled: Vec<&Prediction> = rows.iter().filter(of_task).collect();
    if labelled.is_empty() {
        return None;
    }
    let evaluation = Evaluation {
        rows: rows.len() as u64,
        labelled: labelled.len() as u64,
        ..Evaluation::default()
    };
    Some(match task {
        Task::Regression => of_numbers(evaluation, &labelled),
        Task::Single | Task::Multi => of_sets(evaluation, &labelled),
    })
}

fn of_sets(evaluation: Evaluation, labelled: &[&Prediction]) -> Evaluation {
    let gold = |row: &Prediction| row.gold.clone().unwrap_or(Target::Labels(Vec::new()));
    let golds: Vec<Target> = labelled.iter().map(|row| gold(row)).collect();
    let known = labelled.iter().zip(&golds).flat_map(|(row, gold)| {
        row.probabilities.keys().chain(row.label.labels()).chain(gold.labels())
    });
    let names: Vec<&String> = known.collect::<BTreeSet<_>>().into_iter().collect();
    let numbers = |target: &Target| -> Vec<u16> {
        let place = |label: &String| names.partition_point(|name| *name < label) as u16;
        target.labels().iter().map(place).collect()
    };
    let sets: Vec<(Vec<u16>, Vec<u16>)> = labelled
        .iter()
        .zip(&golds)
        .map(|(row, gold)| (numbers(gold), numbers(&row.label)))
        .collect();
    let of = MultiMargins::new(
        names.len(),
        sets.iter().map(|(gold, it)| (gold.as_slice(), it.as_slice(), 1)),
    );
    let has_probabilities = labelled.iter().all(|row| !row.probabilities.is_empty());
    let mut notes = evaluation.notes;
    let mut curves = Vec::new();
    for name in names.iter().filter(|_| has_probabilities) {
        let row = |(row, gold): (&&Prediction, &Target)| ScoredRow {
            probability: row.probabilities.get(*name).copied().unwrap_or(0.0).clamp(0.0, 1.0),
            positive: gold.labels().contains(name),
        };
        let rows: Vec<ScoredRow> = labelled.iter().zip(&golds).map(row).collect();
        curves.extend(curve(name, &rows));
    }
    let average_precision =
        |name: &str| curves.iter().find(|it| it.label == name).map(|it| it.average_precision);
    let per_label = names
        .iter()
        .enumerate()
        .map(|(label, name)| {
            let figures = of.labels.figures(label);
            LabelRow {
                label: (*name).clone(),
                support: of.labels.gold[label],
                precision: figures.precision,
                recall: figures.recall,
                f1: figures.f1,
                average_precision: average_precision(name),
            }
        })
        .collect();
    if !has_probabilities {
        notes.push("Some rows have no probabilities, so there are no curves.".to_owned());
    } else if curves.len() > MOST_CURVES {
        notes.push(format!("Precision and recall are not drawn for {} labels.", curves.len()));
        curves.clear();
    }
    let micro = of.micro_average();
    let figures = [
        ("accuracy", of.subset_accuracy()),
        ("micro_precision", micro.precision),
        ("micro_recall", micro.recall),
        ("micro_f1", micro.f1),
        ("macro_f1", of.labels.mean_over_labels().f1),
        ("weighted_f1", of.labels.weighted_average().f1),
        ("hamming_loss", of.hamming_loss()),
    ];
    Evaluation {
        headline: "micro_f1".to_owned(),
        labels: names.into_iter().cloned().collect(),
        figures: figures
            .map(|(name, value)| Figure { name, value, interval: None, detectable: None })
            .to_vec(),
        other: Some(OtherTask { task: Task::Multi.word(), per_label, scatter: Vec::new() }),
        precision_recall: curves,
        notes,
        ..evaluation
    }
}

fn of_numbers(evaluation: Evaluation, labelled: &[&Prediction]) -> Evaluation {
    let pair = |row: &&Prediction| Some((row.gold.as_ref()?.number()?, row.label.number()?));
    let pairs: Vec<(f64, f64)> = labelled.iter().filter_map(pair).collect();
    let of = NumberPairs::new(pairs.iter().copied()).figures();
    let figures = [
        ("pearson", of.pearson),
        ("spearman", of.spearman),
        ("rmse", Some(of.rmse)),
        ("mae", Some(of.mae)),
    ];
    let figures = figures.into_iter().filter_map(|(name, value)| {
        Some(Figure { name, value: value?, interval: None, detectable: None })
    });
    let step = pairs.len().div_ceil(MOST_DOTS).max(1);
    let scatter: Vec<(f64, f64)> = pairs.iter().copied().step_by(step).collect();
    let mut notes = evaluation.notes;
    if step > 1 {
        notes.push(format!("The plot shows {} of the {} rows.", scatter.len(), pairs.len()));
    }
    Evaluation {
        headline: "pearson".to_owned(),
        figures: figures.collect(),
        other: Some(OtherTask { task: Task::Regression.word(), per_label: Vec::new(), scatter }),
        notes,
        ..evaluation
    }
}

/// How sure a wrong prediction is: the probability of the label, or of a wrong decision about a label,
/// or how far a number is from the true one.
pub fn confidence(row: &Prediction) -> f64 {
    let probability = |label: &str| row.probabilities.get(label).copied().unwrap_or(0.0);
    match (&row.label, &row.gold) {
        (Target::Label(label), _) => probability(label),
        (Target::Number(number), Some(Target::Number(gold))) => (number - gold).abs(),
        (Target::Labels(said), Some(Target::Labels(gold))) => {
            let extra = said.iter().filter(|label| !gold.contains(label)).map(|it| probability(it));
            let missed = gold.iter().filter(|label| !said.contains(label));
            extra.chain(missed.map(|label| 1.0 - probability(label))).fold(0.0, f64::max)
        }
        _ => 0.0,
    }
}

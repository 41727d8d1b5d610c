//! The scores of predictions with several labels a text.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::bootstrap::{draw, percentiles, running_sums};
use super::params::ScoreParams;
use super::ranking::ranking;
use crate::data::classification::ClassFigures;
use crate::data::label_names::untrained_warning;
use crate::data::labels::LabelTable;
use crate::data::lines::LineReader;
use crate::data::multi_label::MultiMargins;
use crate::data::prediction::Prediction;
use crate::data::random::Random;
use crate::data::target::Target;
use crate::data::threshold::ScoredRow;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::progress::Progress;

/// Rows by true and predicted set of labels, each an ascending list of the numbers of labels.
type Cells = BTreeMap<(Vec<u16>, Vec<u16>), u64>;

/// The scores of one input. All figures are of the rows with true labels, and of all labels that a
/// true label or a prediction names.
#[derive(Serialize)]
pub struct MultiScore {
    task: &'static str,
    rows: u64,
    labelled: u64,
    labels: Vec<String>,
    /// The share of rows whose labels are all right.
    accuracy: f64,
    /// The name of the figure that stands for all.
    headline: &'static str,
    /// Over the labels of all rows together.
    micro: ClassFigures,
    /// The mean over the labels.
    r#macro: ClassFigures,
    /// The mean over the labels, weighted by their rows.
    weighted: ClassFigures,
    hamming_loss: f64,
    per_class: BTreeMap<String, PerLabel>,
    /// The mean average precision of the labels that occur; null if a row has no probabilities.
    average_precision: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intervals: Option<MultiIntervals>,
}

#[derive(Serialize)]
struct PerLabel {
    #[serde(flatten)]
    figures: ClassFigures,
    /// The rows that have the label.
    support: u64,
    /// Null if no row has the label, or a row has no probabilities.
    average_precision: Option<f64>,
}

/// Intervals `[low, high]`.
#[derive(Serialize)]
struct MultiIntervals {
    confidence: f64,
    replicates: usize,
    accuracy: [f64; 2],
    micro_f1: [f64; 2],
    macro_f1: [f64; 2],
    weighted_f1: [f64; 2],
}

/// The counts of an input.
#[derive(Default)]
struct MultiTally {
    rows: u64,
    labelled: u64,
    labels: LabelTable,
    /// Whether a prediction names the label, by its number.
    predictable: Vec<bool>,
    cells: Cells,
    without_probabilities: u64,
}

/// Scores one input; with the warnings about its labels. `None` if no row has true labels.
///
/// # Errors
/// A malformed row, or one of another task.
pub fn score(
    context: &Context,
    path: &Path,
    input: &str,
    params: &ScoreParams,
) -> Result<(u64, Option<MultiScore>, Vec<String>), StageError> {
    let tally = read(context, path)?;
    if tally.labelled == 0 {
        return Ok((tally.rows, None, Vec::new()));
    }
    let (names, places) = tally.labels.alphabetical(None);
    let placed = |set: &[u16]| {
        let mut set: Vec<u16> = set.iter().map(|it| places[usize::from(*it)]).collect();
        set.sort_unstable();
        set
    };
    let cells: Cells = tally
        .cells
        .iter()
        .map(|((gold, it), count)| ((placed(gold), placed(it)), *count))
        .collect();
    let counts: Vec<u64> = cells.values().copied().collect();
    let of = margins(names.len(), &cells, &counts);
    let precisions = match tally.without_probabilities {
        0 => average_precisions(path, &names)?,
        _ => vec![None; names.len()],
    };
    let known: Vec<f64> = precisions.iter().flatten().copied().collect();
    let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
    let per_label = |label: usize| PerLabel {
        figures: of.labels.figures(label),
        support: of.labels.gold[label],
        average_precision: precisions[label],
    };
    let rows_of: Vec<(&str, u64)> =
        names.iter().copied().zip(of.labels.gold.iter().copied()).collect();
    let can_predict = |name: &&str| {
        tally.labels.get(name).and_then(|it| tally.predictable.get(usize::from(it))) == Some(&true)
    };
    let predictable: Vec<&str> = names.iter().copied().filter(can_predict).collect();
    let advice = "every such row counts as wrong; train with rows of it, or give it the name that the \
                  model knows with `label_map` of `predict`";
    let warnings = untrained_warning(input, &rows_of, &predictable, advice);
    let score = MultiScore {
        task: "multi",
        rows: tally.rows,
        labelled: tally.labelled,
        labels: names.iter().map(|name| (*name).to_owned()).collect(),
        accuracy: of.subset_accuracy(),
        headline: "micro_f1",
        micro: of.micro_average(),
        r#macro: of.labels.mean_over_labels(),
        weighted: of.labels.weighted_average(),
        hamming_loss: of.hamming_loss(),
        per_class: names
            .iter()
            .enumerate()
            .map(|(it, name)| ((*name).to_owned(), per_label(it)))
            .collect(),
        average_precision: mean,
        intervals: (params.replicates > 0).then(|| intervals(names.len(), &cells, params, input)),
    };
    Ok((tally.rows, Some(score), warnings.into_iter().collect()))
}

fn margins(labels: usize, cells: &Cells, counts: &[u64]) -> MultiMargins {
    let rows = cells.keys().zip(counts).filter(|(_, count)| **count > 0);
    let rows = rows.map(|((gold, it), count)| (gold.as_slice(), it.as_slice(), *count));
    MultiMargins::new(labels, rows)
}

/// Percentile intervals of the bootstrap, as in [`bootstrap`](super::bootstrap).
fn intervals(labels: usize, cells: &Cells, params: &ScoreParams, input: &str) -> MultiIntervals {
    let observed: Vec<u64> = cells.values().copied().collect();
    let before = running_sums(&observed);
    let (rows, mut drawn) = (before[cells.len()], vec![0; cells.len()]);
    let purpose = format!("bootstrap {input}");
    let mut values: [Vec<f64>; 4] = Default::default();
    for replicate in 0..params.replicates {
        let mut random = Random::new(params.seed, &purpose, replicate as u64, 0);
        draw(&mut random, rows, &before, &mut drawn);
        let of = margins(labels, cells, &drawn);
        let figures = [
            of.subset_accuracy(),
            of.micro_average().f1,
            of.labels.mean_over_labels().f1,
            of.labels.weighted_average().f1,
        ];
        values.iter_mut().zip(figures).for_each(|(values, figure)| values.push(figure));
    }
    let [accuracy, micro_f1, macro_f1, weighted_f1] =
        values.map(|values| percentiles(values, params.confidence));
    let (confidence, replicates) = (params.confidence, params.replicates);
    MultiIntervals { confidence, replicates, accuracy, micro_f1, macro_f1, weighted_f1 }
}

fn read(context: &Context, path: &Path) -> Result<MultiTally, StageError> {
    let mut progress = Progress::new(context, "bytes");
    let mut lines = LineReader::open(path)?;
    let mut tally = MultiTally::default();
    while let Some(row) = lines.next_json::<Prediction>()? {
        tally.add(&row).map_err(|problem| lines.error(problem))?;
        let (done, total) = lines.bytes();
        progress.update(done, total);
    }
    Ok(tally)
}

/// The numbers of the labels, ascending.
///
/// # Errors
/// It is no list of labels.
pub fn numbers_of(labels: &mut LabelTable, target: &Target) -> Result<Vec<u16>, String> {
    let Target::Labels(names) = target else {
        let found = target.task().labels_in_words();
        return Err(format!(
            "the label is {found}, but that of an earlier row is a list of labels"
        ));
    };
    let numbers = names.iter().map(|name| labels.number(name));
    let mut numbers = numbers.collect::<Result<Vec<u16>, String>>()?;
    numbers.sort_unstable();
    Ok(numbers)
}

impl MultiTally {
    fn add(&mut self, row: &Prediction) -> Result<(), String> {
        row.check()?;
        for label in row.probabilities.keys().chain(row.label.labels()) {
            let number = self.labels.number(label)?;
            self.predictable.resize(self.labels.len(), false);
            self.predictable[usize::from(number)] = true;
        }
        self.rows += 1;
        let predicted = numbers_of(&mut self.labels, &row.label)?;
        let Some(gold) = &row.gold else { return Ok(()) };
        let gold = numbers_of(&mut self.labels, gold)?;
        self.labelled += 1;
        self.without_probabilities += u64::from(row.probabilities.is_empty());
        *self.cells.entry((gold, predicted)).or_default() += 1;
        Ok(())
    }
}

/// The average precision of each label.
fn average_precisions(path: &Path, names: &[&str]) -> Result<Vec<Option<f64>>, StageError> {
    let mut rows: Vec<Vec<ScoredRow>> = vec![Vec::new(); names.len()];
    let mut lines = LineReader::open(path)?;
    while let Some(row) = lines.next_json::<Prediction>()? {
        let Some(gold) = &row.gold else { continue };
        for (name, rows) in names.iter().zip(&mut rows) {
            let probability = row.probabilities.get(*name).copied().unwrap_or(0.0);
            let positive = gold.labels().iter().any(|label| label == name);
            rows.push(ScoredRow { probability, positive });
        }
    }
    Ok(rows.into_iter().map(|rows| ranking(rows).average_precision).collect())
}

impl MultiScore {
    /// The metrics for the record.
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let mut values = vec![
            ("accuracy", self.accuracy),
            ("micro_precision", self.micro.precision),
            ("micro_recall", self.micro.recall),
            ("micro_f1", self.micro.f1),
            ("macro_f1", self.r#macro.f1),
            ("weighted_f1", self.weighted.f1),
            ("hamming_loss", self.hamming_loss),
        ];
        values.extend(self.average_precision.map(|it| ("average_precision", it)));
        if let Some(intervals) = &self.intervals {
            let ([low, high], [micro_low, micro_high]) = (intervals.accuracy, intervals.micro_f1);
            values.extend([("accuracy_low", low), ("accuracy_high", high)]);
            values.extend([("micro_f1_low", micro_low), ("micro_f1_high", micro_high)]);
        }
        values
    }
}

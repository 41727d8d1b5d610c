//! Tests whether one file of predictions is better than another file for the same examples:
//! differences of figures with paired bootstrap intervals, and McNemar's test. `score` calls this
//! for its input `against`.
//!
//! Both files predict the same rows, so rows are resampled as pairs. Rows that are hard for one
//! classifier are often hard for the other, so the interval of the difference is narrower than the
//! intervals of the two figures suggest. As in `bootstrap`, counts are drawn instead of rows: the
//! counts of the cells (true label, label of this file, label of the other file).

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::bootstrap::{draw, percentiles, running_sums};
use super::mcnemar::{McNemar, mcnemar};
use super::multi::numbers_of;
use super::params::ScoreParams;
use super::power;
use super::tally::{one_label, task_of};
use crate::data::classification::{Headline, Margins};
use crate::data::labels::LabelTable;
use crate::data::lines::LineReader;
use crate::data::multi_label::MultiMargins;
use crate::data::nearest::list_names;
use crate::data::prediction::Prediction;
use crate::data::random::Random;
use crate::data::target::Target;
use crate::data::task::Task;
use crate::stage::error::StageError;

/// The result. A difference is the figure of this file minus that of the other file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairedComparison {
    /// The rows with a true label. All figures are of these rows.
    pub rows: u64,
    /// The label of F1, if there are two labels or one was named.
    pub positive: Option<String>,
    pub accuracy: FigureDifference,
    /// The name of the figure that stands for all: `f1` or `macro_f1`.
    pub headline: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1: Option<FigureDifference>,
    pub macro_f1: FigureDifference,
    /// With several labels a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_f1: Option<FigureDifference>,
    /// The rows on which this file is right and the other is not.
    pub only_this_right: u64,
    pub only_other_right: u64,
    pub mcnemar: McNemar,
    pub confidence: f64,
    pub replicates: usize,
}

impl PairedComparison {
    /// Accuracy and the headline figure, with their names.
    pub fn headlines(&self) -> [(&str, &FigureDifference); 2] {
        let of_headline = match (&self.f1, &self.micro_f1) {
            (Some(f1), _) if self.headline == "f1" => f1,
            (_, Some(micro_f1)) => micro_f1,
            _ => &self.macro_f1,
        };
        [("accuracy", &self.accuracy), (&self.headline, of_headline)]
    }
}

/// A figure of both files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FigureDifference {
    pub this: f64,
    pub other: f64,
    pub difference: f64,
    /// The interval of the difference; absent without replicates.
    pub interval: Option<[f64; 2]>,
    /// The two-sided p value of no difference, at most 1: twice the smaller of (k + 1) / (n + 1)
    /// for the k of n replicates whose difference is at most 0, or at least 0 (A. Davison and
    /// D. Hinkley, "Bootstrap Methods and their Application", 1997, section 4.2.3).
    pub p: Option<f64>,
    /// The smallest difference that these rows show with 80 % power.
    pub detectable: Option<f64>,
}

/// Rows by (true label, label of this file, label of the other).
pub type Cells = BTreeMap<(u16, u16, u16), u64>;

/// Compares two files of predictions for the same examples in the same order. Rows for which
/// neither file has a true label are skipped.
///
/// # Errors
/// With file and line: a malformed row, ids that differ, or true labels that differ. Without a
/// line: no row has a true label, or neither file knows the positive label.
pub fn compare_files(
    this: &Path,
    other: &Path,
    params: &ScoreParams,
) -> Result<PairedComparison, StageError> {
    let mut labels = LabelTable::default();
    match task_of(this)? {
        Task::Single => {}
        Task::Multi => return compare_sets(this, other, params),
        Task::Regression => {
            let problem =
                "its predictions are numbers, and `against` compares labels only".to_owned();
            return Err(StageError::File { path: this.to_owned(), problem });
        }
    }
    let cells = read_pairs(this, other, &mut labels, |labels, it| labels.number(one_label(it)?))?;
    let known = || labels.iter().map(|(name, _)| name);
    if let Some(label) = params.positive.as_deref().filter(|label| labels.get(label).is_none()) {
        let known = list_names(label, known());
        let problem = format!("no prediction knows the label `{label}`; there are {known}");
        return Err(StageError::Param { name: "positive", problem });
    }
    let headline = Headline::of(known(), params.positive.as_deref());
    let positive = headline.positive().or(params.positive.as_deref());
    let (names, place) = labels.alphabetical(positive);
    let cells: Cells = cells
        .into_iter()
        .map(|((gold, a, b), count)| {
            let place = |number: u16| place[usize::from(number)];
            ((place(gold), place(a), place(b)), count)
        })
        .collect();
    let positive = positive.map(|label| (label, names.partition_point(|name| *name < label)));
    Ok(compare(&cells, names.len(), &headline, positive, params))
}

/// Compares counts of the labels `0..labels`. `positive` is the label of F1 and its number.
/// Replicate `n` depends only on the seed and `n`.
pub fn compare(
    cells: &Cells,
    labels: usize,
    headline: &Headline,
    positive: Option<(&str, usize)>,
    params: &ScoreParams,
) -> PairedComparison {
    let figures = |cells: &mut dyn Iterator<Item = ((&u16, &u16), u64)>| {
        let margins = Margins::new(labels, cells.map(|((gold, it), count)| ((*gold, *it), count)));
        let f1 = positive.map_or(0.0, |(_, number)| margins.figures(number).f1);
        [margins.accuracy(), f1, margins.macro_average().f1]
    };
    let (comparison, f1) = compare_cells(cells, params, figures);
    PairedComparison {
        positive: positive.map(|(label, _)| label.to_owned()),
        headline: headline.name("f1"),
        f1: positive.map(|_| f1),
        ..comparison
    }
}

/// As [`compare_files`], with several labels a text: F1 is the micro average, and right is a row
/// whose labels are all right.
fn compare_sets(
    this: &Path,
    other: &Path,
    params: &ScoreParams,
) -> Result<PairedComparison, StageError> {
    if params.positive.is_some() {
        let problem = "each prediction is a list of labels, so no label is the positive one";
        return Err(StageError::Param { name: "positive", problem: problem.to_owned() });
    }
    let mut labels = LabelTable::default();
    let cells = read_pairs(this, other, &mut labels, numbers_of)?;
    let figures = |cells: &mut dyn Iterator<Item = ((&Vec<u16>, &Vec<u16>), u64)>| {
        let rows = cells.map(|((gold, it), count)| (gold.as_slice(), it.as_slice(), count));
        let of = MultiMargins::new(labels.len(), rows);
        [of.subset_accuracy(), of.micro_average().f1, of.labels.mean_over_labels().f1]
    };
    let (comparison, micro_f1) = compare_cells(&cells, params, figures);
    let headline = "micro_f1".to_owned();
    Ok(PairedComparison { headline, micro_f1: Some(micro_f1), ..comparison })
}

/// Compares counts of labels of any kind. `of` gives the figures of cells (true label, predicted
/// label): accuracy, F1 and macro F1. Returns the difference of F1 apart, which is of what the caller
/// says.
fn compare_cells<T: Ord>(
    cells: &BTreeMap<(T, T, T), u64>,
    params: &ScoreParams,
    of: impl Fn(&mut dyn Iterator<Item = ((&T, &T), u64)>) -> [f64; 3],
) -> (PairedComparison, FigureDifference) {
    let figures = |counts: &[u64]| -> [[f64; 2]; 3] {
        let pairs = || cells.keys().zip(counts.iter().copied());
        let this = of(&mut pairs().map(|((gold, this, _), count)| ((gold, this), count)));
        let other = of(&mut pairs().map(|((gold, _, other), count)| ((gold, other), count)));
        [0, 1, 2].map(|figure| [this[figure], other[figure]])
    };
    let observed: Vec<u64> = cells.values().copied().collect();
    let before = running_sums(&observed);
    let rows = before[observed.len()];
    let mut drawn = vec![0; observed.len()];
    let mut replicates: [Vec<f64>; 3] = Default::default();
    for replicate in 0..params.replicates {
        let mut random = Random::new(params.seed, "compare", replicate as u64, 0);
        draw(&mut random, rows, &before, &mut drawn);
        for (values, [this, other]) in replicates.iter_mut().zip(figures(&drawn)) {
            values.push(this - other);
        }
    }
    let [accuracy, f1, macro_f1] = figures(&observed);
    let [of_accuracy, of_f1, of_macro_f1] = replicates;
    let difference = |both, replicates| difference(both, replicates, params.confidence);
    let count = |wanted: fn(bool, bool) -> bool| -> u64 {
        let wanted = cells.iter().filter(|((gold, a, b), _)| wanted(a == gold, b == gold));
        wanted.map(|(_, count)| count).sum()
    };
    let (only_this, only_other) = (count(|a, b| a && !b), count(|a, b| b && !a));
    let comparison = PairedComparison {
        rows,
        positive: None,
        accuracy: difference(accuracy, of_accuracy),
        headline: "macro_f1".to_owned(),
        f1: None,
        macro_f1: difference(macro_f1, of_macro_f1),
        micro_f1: None,
        only_this_right: only_this,
        only_other_right: only_other,
        mcnemar: mcnemar(only_this, only_other),
        confidence: params.confidence,
        replicates: params.replicates,
    };
    (comparison, difference(f1, of_f1))
}

fn difference([this, other]: [f64; 2], replicates: Vec<f64>, confidence: f64) -> FigureDifference {
    let share = |beyond: fn(f64) -> bool| {
        let count = replicates.iter().filter(|value| beyond(**value)).count();
        (count + 1) as f64 / (replicates.len() + 1) as f64
    };
    let some = !replicates.is_empty();
    let p = some.then(|| (2.0 * share(|it| it <= 0.0).min(share(|it| it >= 0.0))).min(1.0));
    let detectable = power::of_difference(&replicates);
    let interval = some.then(|| percentiles(replicates, confidence));
    FigureDifference { this, other, difference: this - other, interval, p, detectable }
}

/// Reads both files side by side, and numbers labels in the order in which they occur.
fn read_pairs<T: Ord>(
    this: &Path,
    other: &Path,
    labels: &mut LabelTable,
    number: impl Fn(&mut LabelTable, &Target) -> Result<T, String>,
) -> Result<BTreeMap<(T, T, T), u64>, StageError> {
    let (mut lines, mut other_lines) = (LineReader::open(this)?, LineReader::open(other)?);
    let mut cells = BTreeMap::new();
    loop {
        let (row, other_row) =
            (lines.next_json::<Prediction>()?, other_lines.next_json::<Prediction>()?);
        let (row, other_row) = match (row, other_row) {
            (Some(row), Some(other_row)) => (row, other_row),
            (None, None) => break,
            (Some(_), None) => {
                let problem = format!("is the last row, but {} has more rows", this.display());
                return Err(other_lines.error(problem));
            }
            (None, Some(_)) => {
                let problem = format!("is one row more than {} has", this.display());
                return Err(other_lines.error(problem));
            }
        };
        row.check().map_err(|problem| lines.error(problem))?;
        let mut add = || -> Result<(), String> {
            other_row.check()?;
            if row.id != other_row.id {
                return Err(format!(
                    "the id is `{}`, in {} it is `{}`: only predictions of the same examples in \
                     the same order can be compared",
                    other_row.id,
                    this.display(),
                    row.id
                ));
            }
            if let (Some(gold), Some(other_gold)) = (&row.gold, &other_row.gold)
                && gold != other_gold
            {
                return Err(format!(
                    "the true label is `{other_gold}`, in {} it is `{gold}`",
                    this.display()
                ));
            }
            for label in row.probabilities.keys().chain(other_row.probabilities.keys()) {
                labels.number(label)?;
            }
            let (label, other) = (number(labels, &row.label)?, number(labels, &other_row.label)?);
            if let Some(gold) = row.gold.as_ref().or(other_row.gold.as_ref()) {
                *cells.entry((number(labels, gold)?, label, other)).or_default() += 1;
            }
            Ok(())
        };
        add().map_err(|problem| other_lines.error(problem))?;
    }
    if cells.is_empty() {
        let problem = "no row has a true label, neither here nor in `against`".to_owned();
        return Err(StageError::File { path: this.to_owned(), problem });
    }
    Ok(cells)
}

//! Reads the predictions of an input. The first pass checks each row and keeps only counts and
//! sums. The second pass, once the positive label is known, reads what the ranking needs.

use std::path::Path;

use super::calibration::Calibration;
use super::confusion::ConfusionCounts;
use crate::data::labels::LabelTable;
use crate::data::lines::LineReader;
use crate::data::prediction::Prediction;
use crate::data::random::normal::ln;
use crate::data::target::Target;
use crate::data::task::Task;
use crate::data::threshold::ScoredRow;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::progress::Progress;

/// The counts and sums of an input.
#[derive(Default)]
pub struct PredictionTally {
    pub rows: u64,
    pub labelled: u64,
    /// Counts of the labelled rows, with the numbers of `labels`.
    pub counts: ConfusionCounts,
    /// Every label that occurs as a true label, as a predicted label, or with a probability.
    pub labels: LabelTable,
    /// Whether each label, by its number, occurs as a predicted label or with a probability.
    pub predictable: Vec<bool>,
    /// The sum of -ln p of the true label over the labelled rows.
    pub loss_sum: f64,
    pub calibration: Calibration,
    /// How many labelled rows have no probabilities. If any, the loss is unknown.
    pub without_probabilities: u64,
}

/// Reads one input.
///
/// # Errors
/// A malformed row; an input without rows.
pub fn read(context: &Context, path: &Path) -> Result<PredictionTally, StageError> {
    let mut progress = Progress::new(context, "bytes");
    let mut lines = LineReader::open(path)?;
    let mut tally = PredictionTally::default();
    while let Some(prediction) = lines.next_json::<Prediction>()? {
        add(&mut tally, &prediction).map_err(|problem| lines.error(problem))?;
        let (done, total) = lines.bytes();
        progress.update(done, total);
    }
    if tally.rows == 0 {
        let problem = "holds no predictions".to_owned();
        return Err(StageError::File { path: path.to_owned(), problem });
    }
    tally.counts.labels = tally.labels.len();
    Ok(tally)
}

/// The probability of the positive label in every labelled row; 0 if the row has no probability
/// for it.
pub fn read_scored(path: &Path, positive: &str) -> Result<Vec<ScoredRow>, StageError> {
    let mut lines = LineReader::open(path)?;
    let mut rows = Vec::new();
    while let Some(prediction) = lines.next_json::<Prediction>()? {
        if let Some(gold) = &prediction.gold {
            let probability = prediction.probabilities.get(positive).copied().unwrap_or(0.0);
            rows.push(ScoredRow { probability, positive: gold.label() == Some(positive) });
        }
    }
    Ok(rows)
}

/// The id of the first row; `None` if there are no rows.
pub fn first_id(path: &Path) -> Result<Option<String>, StageError> {
    Ok(LineReader::open(path)?.next_json::<Prediction>()?.map(|prediction| prediction.id))
}

impl PredictionTally {
    /// The number of a label that the model can predict.
    fn add_predictable(&mut self, label: &str) -> Result<u16, String> {
        let number = self.labels.number(label)?;
        self.predictable.resize(self.labels.len(), false);
        self.predictable[usize::from(number)] = true;
        Ok(number)
    }
}

/// # Errors
/// It is a list of labels or a number.
pub fn one_label(target: &Target) -> Result<&str, String> {
    target.label().ok_or_else(|| {
        let found = target.task().labels_in_words();
        format!("the label is {found}, but that of an earlier row is one label")
    })
}

/// The task of the predictions in a file, by its first row.
///
/// # Errors
/// The first row is malformed, or there is none.
pub fn task_of(path: &Path) -> Result<Task, StageError> {
    let first = LineReader::open(path)?.next_json::<Prediction>()?;
    first.map(|row| row.label.task()).ok_or_else(|| StageError::File {
        path: path.to_owned(),
        problem: "holds no predictions".to_owned(),
    })
}

fn add(tally: &mut PredictionTally, prediction: &Prediction) -> Result<(), String> {
    let probabilities = &prediction.probabilities;
    prediction.check()?;
    for label in probabilities.keys() {
        tally.add_predictable(label)?;
    }
    tally.rows += 1;
    let predicted = tally.add_predictable(one_label(&prediction.label)?)?;
    let Some(gold) = &prediction.gold else { return Ok(()) };
    let gold = one_label(gold)?;
    tally.labelled += 1;
    let number = tally.labels.number(gold)?;
    tally.counts.add(number, predicted);
    if probabilities.is_empty() {
        tally.without_probabilities += 1;
    } else {
        // A true label that the model does not know counts as one with probability 0.
        let probability = probabilities.get(gold).copied().unwrap_or(0.0);
        tally.calibration.add(prediction, gold);
        tally.loss_sum -= ln(probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON));
    }
    Ok(())
}

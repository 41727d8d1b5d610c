//! Reading predictions: checks each row and keeps counts and sums only; what ranks them is a
//! second reading, once the positive label is known.

use std::path::Path;

use super::calibration::Calibration;
use super::counts::Counts;
use super::threshold::Scored;
use crate::data::labels::LabelTable;
use crate::data::lines::LineReader;
use crate::data::prediction::Prediction;
use crate::data::random::normal::ln;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::progress::Progress;

/// What an input's rows come to.
#[derive(Default)]
pub struct Tally {
    pub rows: u64,
    pub labelled: u64,
    /// Of the labelled rows. Numbers are those of `labels`.
    pub counts: Counts,
    /// Every label of the input: true, predicted, or with a probability.
    pub labels: LabelTable,
    /// The sum of -ln p of the true label over the labelled rows.
    pub loss_sum: f64,
    pub calibration: Calibration,
    /// Labelled rows without probabilities: the loss is then unknown.
    pub without_probabilities: u64,
}

/// Reads one input.
pub fn read(context: &Context, path: &Path) -> Result<Tally, StageError> {
    let mut progress = Progress::new(context, "bytes");
    let mut lines = LineReader::open(path)?;
    let mut tally = Tally::default();
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

/// The probability of the positive label of every labelled row. A label that a row's model does
/// not know has none there.
pub fn read_scored(path: &Path, positive: &str) -> Result<Vec<Scored>, StageError> {
    let mut lines = LineReader::open(path)?;
    let mut rows = Vec::new();
    while let Some(prediction) = lines.next_json::<Prediction>()? {
        if let Some(gold) = &prediction.gold {
            let probability = prediction.probabilities.get(positive).copied().unwrap_or(0.0);
            rows.push(Scored { probability, positive: gold == positive });
        }
    }
    Ok(rows)
}

/// The id of the first row; `None` where there are no rows.
pub fn first_id(path: &Path) -> Result<Option<String>, StageError> {
    Ok(LineReader::open(path)?.next_json::<Prediction>()?.map(|prediction| prediction.id))
}

fn add(tally: &mut Tally, prediction: &Prediction) -> Result<(), String> {
    let probabilities = &prediction.probabilities;
    prediction.check()?;
    for label in probabilities.keys() {
        tally.labels.number(label)?;
    }
    tally.rows += 1;
    let predicted = tally.labels.number(&prediction.label)?;
    let Some(gold) = &prediction.gold else { return Ok(()) };
    tally.labelled += 1;
    let number = tally.labels.number(gold)?;
    tally.counts.add(number, predicted);
    if probabilities.is_empty() {
        tally.without_probabilities += 1;
    } else {
        // A true label that the model does not know is as bad as one it deems impossible.
        let probability = probabilities.get(gold).copied().unwrap_or(0.0);
        tally.calibration.add(prediction, gold);
        tally.loss_sum -= ln(probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON));
    }
    Ok(())
}

//! Predictions: the row type, its validity check, and the writer of files. `predict`, `ensemble`
//! and `baseline` write these files, `ensemble` and `score` read them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::label_names::{line_break, shown};
use crate::data::lines::csv_field;
use crate::data::nearest::list_names;
use crate::stage::error::StageError;
use crate::stage::output::OutputFile;
use crate::stage::{Kind, OutputSpec};

/// What a model predicts for one example. In a file it is one line of JSON with its fields in this
/// order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    pub id: String,
    /// The predicted label.
    pub label: String,
    /// A probability for each label that the model knows; they sum to 1. May be empty.
    #[serde(default)]
    pub probabilities: BTreeMap<String, f64>,
    /// The true label, if it is known.
    #[serde(default)]
    pub gold: Option<String>,
}

/// The predictions for the examples of the input `test`, an output of every predicting stage.
pub const PREDICTIONS: OutputSpec = OutputSpec::new(
    "predictions",
    "predictions.jsonl",
    Kind::File,
    "label and probabilities for each example of `test`, in the same order",
)
.given("test");

/// The predicted labels of [`PREDICTIONS`] alone.
pub const ANSWER: OutputSpec =
    OutputSpec::new("answer", "answer.txt", Kind::File, ANSWER_DOC).given("test");

/// What `answer.txt` holds.
pub const ANSWER_DOC: &str = "a line `id,LABEL` for each example, in the same order. It is CSV without a header (RFC 4180): an id or \
     a label with a comma or a quotation mark is quoted. One with a line break is refused";

/// As [`PREDICTIONS`], for the input `valid`.
pub const VALID: OutputSpec = OutputSpec::new(
    "valid",
    "valid.jsonl",
    Kind::File,
    "label and probabilities for each example of `valid`",
)
.given("valid");

/// How far a sum may be from 1. Probabilities come from 32-bit floats, whose rounding errors are
/// smaller.
const SUM_TOLERANCE: f64 = 1e-3;

impl Prediction {
    /// Checks the probabilities, if there are any: each is in 0..=1, they sum to 1, and the
    /// predicted label has one.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), String> {
        let probabilities = &self.probabilities;
        for (label, &probability) in probabilities {
            if !(0.0..=1.0 + SUM_TOLERANCE).contains(&probability) {
                return Err(format!(
                    "the probability of `{label}` is {probability}, expected 0 to 1"
                ));
            }
        }
        if probabilities.is_empty() {
            return Ok(());
        }
        let sum: f64 = probabilities.values().sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(format!("the probabilities sum to {sum}, expected 1"));
        }
        if !probabilities.contains_key(&self.label) {
            let known = list_names(&self.label, probabilities.keys().map(String::as_str));
            return Err(format!(
                "no probability of the predicted label `{}`; there are {known}",
                self.label
            ));
        }
        Ok(())
    }
}

/// Writes a file of predictions, and optionally the file of answers, see [`ANSWER`].
pub struct PredictionWriter {
    predictions: OutputFile,
    answer: Option<OutputFile>,
}

impl PredictionWriter {
    pub fn create(
        predictions: &Path,
        answer: Option<&Path>,
    ) -> Result<PredictionWriter, StageError> {
        Ok(PredictionWriter {
            predictions: OutputFile::create(predictions)?,
            answer: answer.map(OutputFile::create).transpose()?,
        })
    }

    /// # Errors
    /// The row fails its [`Prediction::check`], the answer does not fit on one line, or writing fails.
    pub fn write(&mut self, row: &Prediction) -> Result<(), StageError> {
        row.check().map_err(|problem| {
            self.predictions.error(format!("the prediction for `{}`: {problem}", row.id))
        })?;
        self.predictions.write_json_line(row)?;
        let Some(answer) = &mut self.answer else { return Ok(()) };
        let line = answer_line(&row.id, &row.label).map_err(|problem| answer.error(problem))?;
        answer.write_line(line.as_bytes())
    }

    pub fn finish(self) -> Result<(), StageError> {
        self.predictions.finish()?;
        self.answer.map_or(Ok(()), OutputFile::finish)
    }
}

/// A line of `answer.txt`. Quoting could hold a line break too, but then a program that reads the
/// file line by line, such as `wc -l`, would see rows that nobody predicted.
///
/// # Errors
/// The id or the label has a line break: the problem in words.
fn answer_line(id: &str, label: &str) -> Result<String, String> {
    for (what, field) in [("id", id), ("label", label)] {
        if let Some(found) = line_break(field) {
            let field = shown(field);
            return Err(format!("the {what} {field} has {found}, and each answer is one line"));
        }
    }
    Ok(format!("{},{}", csv_field(id), csv_field(label)))
}

//! A row of predictions, what makes one valid, and how files of them are written: `predict`,
//! `ensemble` and `baseline` write them, `ensemble` and `score` read them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::nearest::list_names;
use crate::stage::error::StageError;
use crate::stage::output::OutputFile;
use crate::stage::{Kind, OutputSpec};

/// What a model says of one example. A line of JSON in this order of fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    pub id: String,
    /// The predicted label.
    pub label: String,
    /// A probability for each label that the model knows; they sum to 1.
    #[serde(default)]
    pub probabilities: BTreeMap<String, f64>,
    /// The true label, where it is known.
    #[serde(default)]
    pub gold: Option<String>,
}

/// The output of a stage that predicts the examples of its input `test`.
pub const PREDICTIONS: OutputSpec = OutputSpec::new(
    "predictions",
    "predictions.jsonl",
    Kind::File,
    "label and probabilities of each example of `test`, in its order",
)
.given("test");

/// Beside [`PREDICTIONS`].
pub const ANSWER: OutputSpec = OutputSpec::new(
    "answer",
    "answer.txt",
    Kind::File,
    "a line `id,LABEL` for each example of `test`, in its order",
)
.given("test");

/// The same as [`PREDICTIONS`] for the input `valid`.
pub const VALID: OutputSpec = OutputSpec::new(
    "valid",
    "valid.jsonl",
    Kind::File,
    "label and probabilities of each example of `valid`",
)
.given("valid");

/// Probabilities come from 32-bit floats; a sum this far from 1 has another cause.
const SUM_TOLERANCE: f64 = 1e-3;

impl Prediction {
    /// Checks that probabilities, where there are any, are some, and that the predicted label has
    /// one. An error says in words what is wrong.
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

/// A file of predictions that is being written, and the file of answers beside it: a line
/// `id,LABEL` for each prediction.
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

    pub fn write(&mut self, row: &Prediction) -> Result<(), StageError> {
        self.predictions.write_json_line(row)?;
        match &mut self.answer {
            Some(answer) => answer.write_line(format!("{},{}", row.id, row.label).as_bytes()),
            None => Ok(()),
        }
    }

    pub fn finish(self) -> Result<(), StageError> {
        self.predictions.finish()?;
        self.answer.map_or(Ok(()), OutputFile::finish)
    }
}

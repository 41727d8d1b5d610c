//! Predictions: the row type, its validity check, and the writer of files. `predict`, `ensemble`
//! and `baseline` write these files, `ensemble` and `score` read them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::label_names::{line_break, shown};
use crate::data::lines::csv_field;
use crate::data::nearest::list_names;
use crate::data::target::Target;
use crate::data::task::Task;
use crate::stage::error::StageError;
use crate::stage::output::OutputFile;
use crate::stage::{Kind, OutputSpec};

/// What a model predicts for one example. In a file it is one line of JSON with its fields in this
/// order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    pub id: String,
    /// The predicted label, labels or number.
    pub label: Target,
    /// A probability for each label that the model knows; of a single label they sum to 1. May be
    /// empty, and is so for a number.
    #[serde(default)]
    pub probabilities: BTreeMap<String, f64>,
    /// The true label, if it is known.
    #[serde(default)]
    pub gold: Option<Target>,
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
    /// Checks the probabilities, if there are any: each is in 0..=1, those of a single label sum to
    /// 1, and each predicted label has one. Also that the true label belongs to the same task.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check(&self) -> Result<(), String> {
        let probabilities = &self.probabilities;
        if let Some(gold) = self.gold.as_ref().filter(|gold| gold.task() != self.label.task()) {
            return Err(format!(
                "the true label is {}, the predicted one {}",
                gold.task().labels_in_words(),
                self.label.task().labels_in_words()
            ));
        }
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
        if self.label.task() == Task::Single && (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(format!("the probabilities sum to {sum}, expected 1"));
        }
        let unknown = |label: &&String| !probabilities.contains_key(*label);
        if let Some(label) = self.label.labels().iter().find(unknown) {
            let known = list_names(label, probabilities.keys().map(String::as_str));
            return Err(format!(
                "no probability of the predicted label `{label}`; there are {known}"
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

/// A line of `answer.txt`: the id, and a field for each label. Quoting could hold a line break too, but then a program that reads the
/// file line by line, such as `wc -l`, would see rows that nobody predicted.
///
/// # Errors
/// The id or the label has a line break: the problem in words.
fn answer_line(id: &str, target: &Target) -> Result<String, String> {
    let labels = target.labels().iter().map(|label| ("label", label.as_str()));
    for (what, field) in std::iter::once(("id", id)).chain(labels) {
        if let Some(found) = line_break(field) {
            let field = shown(field);
            return Err(format!("the {what} {field} has {found}, and each answer is one line"));
        }
    }
    let fields = match target {
        Target::Label(label) => csv_field(label).into_owned(),
        Target::Number(number) => number.to_string(),
        Target::Labels(labels) => {
            labels.iter().map(|label| csv_field(label)).collect::<Vec<_>>().join(",")
        }
    };
    Ok(format!("{},{fields}", csv_field(id)))
}

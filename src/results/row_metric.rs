//! A metric that can be computed from predictions row by row, `score.test_f1`, and the file of predictions
//! that it is about.

use std::path::PathBuf;

use crate::files::digest::Content;
use crate::store::Store;
use crate::store::record::Record;

/// The figures that can be compared row by row.
const FIGURES: [&str; 5] = ["accuracy", "f1", "macro_f1", "micro_f1", "positive_f1"];

/// Which figures there are, as a hint.
pub const KNOWN_FIGURES: &str = "use `accuracy`, `f1` (of two labels), `macro_f1`, `positive_f1`, or \
                                 `micro_f1` (of several labels a text)";

/// `score.test_f1` in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowMetric {
    pub stage: String,
    /// `valid` or `test`.
    pub input: String,
    pub figure: String,
}

/// Why a text is no such metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRowMetric {
    /// Not `STAGE.METRIC` of labelled examples.
    NoMetric,
    /// A figure that says nothing about a single row.
    OtherFigure(String),
}

/// Why there is no file of predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPredictions {
    /// The stage neither scores nor makes any.
    Never,
    /// The store no longer has them.
    Gone,
}

impl RowMetric {
    pub fn parse(metric: &str) -> Result<RowMetric, NotRowMetric> {
        let (stage, name) = metric.rsplit_once('.').ok_or(NotRowMetric::NoMetric)?;
        let (input, figure) = name.split_once('_').ok_or(NotRowMetric::NoMetric)?;
        if !["valid", "test"].contains(&input) {
            return Err(NotRowMetric::NoMetric);
        }
        if !FIGURES.contains(&figure) {
            return Err(NotRowMetric::OtherFigure(figure.to_owned()));
        }
        let [stage, input, figure] = [stage, input, figure].map(str::to_owned);
        Ok(RowMetric { stage, input, figure })
    }

    /// The file of predictions that the metric is about: one that the stage scored, or one that it made.
    pub fn predictions(&self, record: &Record, store: &Store) -> Result<PathBuf, NoPredictions> {
        let builtin = record.fields.action.builtin().unwrap_or_default();
        let output = if self.input == "test" { "predictions" } else { "valid" };
        let content: Option<Content> = match builtin {
            "score" => record.fields.inputs.get(&self.input).copied(),
            _ if stages::predictions_of(builtin).contains(&output) => {
                record.outputs.get(output).map(|artifact| artifact.content)
            }
            _ => None,
        };
        let content = content.ok_or(NoPredictions::Never)?;
        match store.is_intact(content) {
            true => Ok(store.object(content)),
            false => Err(NoPredictions::Gone),
        }
    }
}

impl std::fmt::Display for RowMetric {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}.{}_{}", self.stage, self.input, self.figure)
    }
}

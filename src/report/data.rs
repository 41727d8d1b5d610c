//! What a report tells, as plain data: gathered from the store and the log of runs by
//! `gather`, drawn by `page`, or printed by `pipe report --json`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::results::run_diff::RunDiff;
use crate::results::sweep::table::Mean;
use crate::run::event::Outcome;
use crate::store::record::MetricsRow;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The folder of the pipeline, its last part.
    pub project: String,
    /// In the order asked for.
    pub runs: Vec<RunSummary>,
    /// Of several runs, or of a sweep's combinations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonTable>,
    /// Of several runs, or of a sweep's combinations, where two or more have some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<Curves>,
    /// Of exactly two runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
}

/// One run.
#[derive(Debug, Serialize)]
pub struct RunSummary {
    pub id: String,
    /// When it began, RFC 3339 in UTC.
    pub when: String,
    pub seconds: f64,
    /// What was typed after `pipe`.
    pub command: Vec<String>,
    pub profile: Option<String>,
    pub set: Vec<(String, String)>,
    pub interrupted: bool,
    /// The version of `pipe`.
    pub pipe: String,
    /// In the order of the pipeline.
    pub stages: Vec<StageSummary>,
    /// Who reads from whom, by place in `stages`: `(maker, reader)`.
    pub edges: Vec<(usize, usize)>,
    pub training: Vec<Training>,
    pub evaluations: Vec<Evaluation>,
    /// What is left out, and why.
    pub notes: Vec<String>,
}

/// A stage of a run.
#[derive(Debug, Serialize)]
pub struct StageSummary {
    pub name: String,
    pub outcome: Outcome,
    /// Why it ran.
    pub reason: Option<String>,
    /// Why it failed or was skipped.
    pub message: Option<String>,
    pub hint: Option<String>,
    /// Of a failed process's log.
    pub last_lines: Vec<String>,
    /// In this run; nearly nothing for a hit.
    pub seconds: f64,
    pub metrics: BTreeMap<String, f64>,
    /// `None` where `cache gc` has removed it, or the stage came to none.
    pub record: Option<Provenance>,
}

/// How a stage's result was made, in this run or an earlier one.
#[derive(Debug, Serialize)]
pub struct Provenance {
    pub builtin: Option<String>,
    /// Of the built-in.
    pub version: Option<u32>,
    /// The text of a command.
    pub command: Option<String>,
    pub params: BTreeMap<String, Value>,
    pub inputs: Vec<InputOrigin>,
    pub outputs: Vec<OutputSummary>,
    pub seconds: f64,
    pub device: Option<String>,
    pub machine: String,
    /// 0: as many as there were cores.
    pub threads: usize,
    pub when: String,
    pub pipe: String,
    /// Of all outputs.
    pub bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct InputOrigin {
    pub name: String,
    /// The beginning of its digest.
    pub digest: String,
    /// `stage:output` or a path, if that is known.
    pub origin: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct OutputSummary {
    pub name: String,
    pub digest: String,
    pub bytes: u64,
    /// Whether the store has it still.
    pub kept: bool,
}

/// Figures by step, of one stage.
#[derive(Debug, Serialize)]
pub struct Training {
    pub stage: String,
    pub rows: Vec<MetricsRow>,
}

/// Figures by step of one stage in several runs or combinations.
#[derive(Debug, Serialize)]
pub struct Curves {
    pub stage: String,
    pub curves: Vec<Curve>,
}

#[derive(Debug, Serialize)]
pub struct Curve {
    /// The run's id, or what the sweep called the stage.
    pub name: String,
    pub rows: Vec<MetricsRow>,
}

/// What is known of one file of predictions with true labels.
#[derive(Debug, Default, Serialize)]
pub struct Evaluation {
    /// `predict:valid`.
    pub artifact: String,
    /// The input of a `score` stage that read it.
    pub input: Option<String>,
    pub rows: u64,
    /// The rows with a true label: all figures are of these.
    pub labelled: u64,
    /// Of which precision, recall and F1 are.
    pub positive: String,
    /// Those that occur, in alphabetical order.
    pub labels: Vec<String>,
    /// A row for each true label, a column for each predicted one.
    pub matrix: Vec<Vec<u64>>,
    pub figures: Vec<Figure>,
    /// How much of the distribution an interval holds.
    pub confidence: Option<f64>,
    /// One for each label if there are more than two, else of the positive one.
    pub precision_recall: Vec<PrecisionRecall>,
    /// Of two labels.
    pub threshold: Option<ThresholdCurve>,
    pub reliability: Vec<Bin>,
    pub wrong: Wrong,
    /// What is left out, and why.
    pub notes: Vec<String>,
}

/// `accuracy 0.63, 0.55 to 0.72`.
#[derive(Debug, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub interval: Option<[f64; 2]>,
}

/// A curve of one label against all others.
#[derive(Debug, Serialize)]
pub struct PrecisionRecall {
    pub label: String,
    /// The share of rows that truly have it: the precision of guessing.
    pub share: f64,
    pub average_precision: f64,
    /// Recall and precision, from the highest threshold down.
    pub points: Vec<(f64, f64)>,
}

/// What the threshold on the positive label's probability does.
#[derive(Debug, Serialize)]
pub struct ThresholdCurve {
    /// The one that the predicted labels come from, as far as they tell.
    pub used: Option<f64>,
    /// The one with the greatest F1 on these rows, and that F1.
    pub best: (f64, f64),
    pub points: Vec<ThresholdPoint>,
}

#[derive(Debug, Serialize)]
pub struct ThresholdPoint {
    pub threshold: f64,
    /// `None` where nothing is predicted.
    pub precision: Option<f64>,
    pub recall: f64,
    pub f1: f64,
}

/// Rows whose confidence, the predicted label's probability, is in the same range.
#[derive(Debug, Serialize)]
pub struct Bin {
    pub rows: u64,
    /// The mean.
    pub confidence: f64,
    /// The share of rows that are right.
    pub accuracy: f64,
    /// Of the accuracy, 95 %.
    pub interval: [f64; 2],
}

/// What was predicted wrongly.
#[derive(Debug, Default, Serialize)]
pub struct Wrong {
    pub rows: u64,
    /// Those with the highest confidence, the highest first.
    pub examples: Vec<ListedExample>,
}

/// An example with what was said of it.
#[derive(Debug, Serialize)]
pub struct ListedExample {
    pub id: String,
    pub gold: String,
    pub said: Vec<GivenAnswer>,
    /// The turns before the text, the oldest first; empty too where the text is unknown.
    pub context: Vec<String>,
    /// `None` where it is not in the store.
    pub text: Option<Vec<Span>>,
}

/// A prediction of it; of two runs there are two.
#[derive(Debug, Serialize)]
pub struct GivenAnswer {
    pub label: String,
    /// Of the predicted label.
    pub probability: Option<f64>,
}

/// A piece of a text.
#[derive(Debug, Serialize)]
pub struct Span {
    pub text: String,
    /// How much it spoke for the predicted label, from -1 to 1, if that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// Runs, or combinations of a sweep, side by side.
#[derive(Debug, Serialize)]
pub struct ComparisonTable {
    /// What differs, then what came out.
    pub columns: Vec<Column>,
    pub rows: Vec<ComparedRow>,
    /// The column of the figure that matters, and whether less is better.
    pub by: Option<usize>,
    pub ascending: bool,
    /// Of a sweep rather than of runs.
    pub sweep: bool,
    /// Over seeds, where rows differ in them alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<Means>,
}

/// Rows of a comparison taken together.
#[derive(Debug, Serialize)]
pub struct Means {
    /// The columns that the rows of a group differ in.
    pub over: Vec<String>,
    /// The columns that [`MeansRow::values`] and [`MeansRow::figures`] are of.
    pub settings: Vec<String>,
    pub metrics: Vec<String>,
    pub rows: Vec<MeansRow>,
}

#[derive(Debug, Serialize)]
pub struct MeansRow {
    pub values: Vec<Option<Value>>,
    pub runs: usize,
    pub figures: Vec<Option<Mean>>,
}

#[derive(Debug, Serialize)]
pub struct Column {
    /// `finetune.epochs`, `score.test_f1`; several, with commas between, that are always equal.
    pub name: String,
    pub metric: bool,
    /// Whether all its numbers are whole.
    pub whole: bool,
}

#[derive(Debug, Serialize)]
pub struct ComparedRow {
    /// The run's id, or the combination's number.
    pub name: String,
    pub state: RunState,
    pub seconds: f64,
    pub values: Vec<Option<Value>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Done,
    Failed,
    Interrupted,
}

/// Two runs compared.
#[derive(Debug, Serialize)]
pub struct Difference {
    pub diff: RunDiff,
    pub flips: Vec<Flips>,
}

/// Labelled examples of one file of predictions that changed sides.
#[derive(Debug, Serialize)]
pub struct Flips {
    pub artifact: String,
    pub became_right: Wrong,
    pub became_wrong: Wrong,
}

impl Column {
    /// Of several names the last: what was measured at the end.
    pub fn last_name(&self) -> &str {
        self.name.rsplit(", ").next().unwrap_or_default()
    }
}

impl RunSummary {
    pub fn state(&self) -> RunState {
        if self.interrupted {
            RunState::Interrupted
        } else if self.stages.iter().any(|stage| stage.outcome == Outcome::Failed) {
            RunState::Failed
        } else {
            RunState::Done
        }
    }
}

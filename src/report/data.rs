//! The content of a report as plain data: `gather` collects it from the store and the log of runs,
//! `page` draws it, `pipe report --json` prints it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use stages::data::issue::Issue;

use crate::results::run_diff::RunDiff;
use crate::results::sweep::curve::LearningCurve;
use crate::results::sweep::table::Mean;
use crate::run::event::Outcome;
use crate::store::record::MetricsRow;

/// The whole report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The name of the pipeline's folder.
    pub project: String,
    /// In the order in which the user named them.
    pub runs: Vec<RunSummary>,
    /// Compares several runs, or the combinations of a sweep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonTable>,
    /// Training curves that two or more runs or combinations have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<Curves>,
    /// Set for exactly two runs.
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
    /// `main@1a2b3c4`: where the repository stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// In the order of the pipeline.
    pub stages: Vec<StageSummary>,
    /// The edges of the graph as indices into `stages`: `(maker, reader)`.
    pub edges: Vec<(usize, usize)>,
    pub training: Vec<Training>,
    pub evaluations: Vec<Evaluation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audits: Vec<AuditSummary>,
    /// What the report leaves out, and why.
    pub notes: Vec<String>,
}

/// What an audit found.
#[derive(Debug, Serialize)]
pub struct AuditSummary {
    pub stage: String,
    /// `audit.json`.
    pub report: Value,
    /// The worst examples.
    pub issues: Vec<Issue>,
    pub all_issues: u64,
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
    /// The end of the log of a failed process.
    pub last_lines: Vec<String>,
    /// Time spent in this run, which is close to 0 for a cache hit.
    pub seconds: f64,
    pub metrics: BTreeMap<String, f64>,
    /// `None` if `cache gc` has removed the record, or the stage has no result.
    pub record: Option<Provenance>,
}

/// How a stage's result was made, in this run or an earlier one.
#[derive(Debug, Serialize)]
pub struct Provenance {
    pub builtin: Option<String>,
    /// The version of the built-in.
    pub version: Option<u32>,
    /// The text of a command.
    pub command: Option<String>,
    pub params: BTreeMap<String, Value>,
    pub inputs: Vec<InputOrigin>,
    pub outputs: Vec<OutputSummary>,
    pub seconds: f64,
    pub device: Option<String>,
    pub machine: String,
    /// 0 means the number of cores.
    pub threads: usize,
    pub when: String,
    pub pipe: String,
    /// The size of all outputs.
    pub bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct InputOrigin {
    pub name: String,
    /// The beginning of the digest.
    pub digest: String,
    /// `stage:output` or a path, if that is known.
    pub origin: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct OutputSummary {
    pub name: String,
    pub digest: String,
    pub bytes: u64,
    /// Whether it is still in the store.
    pub kept: bool,
}

/// The metrics of one stage by step.
#[derive(Debug, Serialize)]
pub struct Training {
    pub stage: String,
    pub rows: Vec<MetricsRow>,
}

/// The metrics of one stage by step, in several runs or combinations.
#[derive(Debug, Serialize)]
pub struct Curves {
    pub stage: String,
    pub curves: Vec<Curve>,
}

#[derive(Debug, Serialize)]
pub struct Curve {
    /// The id of the run, or the name of the variant.
    pub name: String,
    pub rows: Vec<MetricsRow>,
}

/// The evaluation of one file of predictions with true labels.
#[derive(Debug, Default, Serialize)]
pub struct Evaluation {
    /// `predict:valid`.
    pub artifact: String,
    /// The input of the `score` stage that read the file.
    pub input: Option<String>,
    pub rows: u64,
    /// The number of rows with a true label; all figures refer to these.
    pub labelled: u64,
    /// The label to which precision, recall and F1 refer, if there is one.
    pub positive: Option<String>,
    /// The name of the figure that stands for all: `f1`, or `macro_f1` with more than two labels.
    pub headline: String,
    /// The labels that occur, in alphabetical order.
    pub labels: Vec<String>,
    /// A row for each true label, a column for each predicted one.
    pub matrix: Vec<Vec<u64>>,
    pub figures: Vec<Figure>,
    /// The confidence level of the intervals.
    pub confidence: Option<f64>,
    /// One for each label if there are more than two, else one for the positive label.
    pub precision_recall: Vec<PrecisionRecall>,
    #[serde(flatten)]
    pub decision: Decision,
    /// Present if a text may have several labels, or has a number.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub other: Option<OtherTask>,
    pub wrong: Wrong,
    /// What the report leaves out, and why.
    pub notes: Vec<String>,
}

/// How the probability of one label of a text becomes a decision, and how far it can be trusted.
#[derive(Debug, Default, Serialize)]
pub struct Decision {
    /// Set if there are two labels.
    pub threshold: Option<ThresholdCurve>,
    pub reliability: Vec<Bin>,
}

/// What only predictions of several labels a text, or of numbers, have.
#[derive(Debug, Serialize)]
pub struct OtherTask {
    /// `multi` or `regression`.
    pub task: &'static str,
    /// One for each label if a text may have several.
    pub per_label: Vec<LabelRow>,
    /// True and predicted numbers.
    pub scatter: Vec<(f64, f64)>,
}

/// The figures of one label against the rest.
#[derive(Clone, Debug, Serialize)]
pub struct LabelRow {
    pub label: String,
    /// The rows that have it.
    pub support: u64,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub average_precision: Option<f64>,
}

/// `accuracy 0.63, 0.55 to 0.72`.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub interval: Option<[f64; 2]>,
    /// The smallest difference between two models that these rows show with 80 % power.
    pub detectable: Option<f64>,
}

/// A curve of one label against all others.
#[derive(Debug, Serialize)]
pub struct PrecisionRecall {
    pub label: String,
    /// The share of rows whose true label it is, which is the precision of guessing.
    pub share: f64,
    pub average_precision: f64,
    /// Recall and precision, from the highest threshold down.
    pub points: Vec<(f64, f64)>,
}

/// The effect of the threshold on the probability of the positive label.
#[derive(Debug, Serialize)]
pub struct ThresholdCurve {
    /// The threshold that was used, inferred from the predicted labels.
    pub used: Option<f64>,
    /// The threshold with the highest F1 on these rows, and that F1.
    pub best: (f64, f64),
    pub points: Vec<ThresholdPoint>,
}

#[derive(Debug, Serialize)]
pub struct ThresholdPoint {
    pub threshold: f64,
    /// `None` if no row is predicted positive.
    pub precision: Option<f64>,
    pub recall: f64,
    pub f1: f64,
}

/// Rows whose confidence, the probability of the predicted label, is in the same range.
#[derive(Debug, Serialize)]
pub struct Bin {
    pub rows: u64,
    /// The mean confidence.
    pub confidence: f64,
    /// The share of rows with the true label.
    pub accuracy: f64,
    /// The 95 % interval of the accuracy.
    pub interval: [f64; 2],
}

/// Wrong predictions.
#[derive(Debug, Default, Serialize)]
pub struct Wrong {
    pub rows: u64,
    /// The examples with the highest confidence, the highest first.
    pub examples: Vec<ListedExample>,
}

/// An example with its predictions.
#[derive(Debug, Serialize)]
pub struct ListedExample {
    pub id: String,
    pub gold: String,
    pub said: Vec<GivenAnswer>,
    /// The earlier turns of the conversation, the oldest first; also empty if the text is unknown.
    pub context: Vec<String>,
    /// `None` if it is not in the store.
    pub text: Option<Vec<Span>>,
}

/// One prediction for an example; in a comparison of two runs there are two.
#[derive(Debug, Serialize)]
pub struct GivenAnswer {
    pub label: String,
    /// The probability of the predicted label.
    pub probability: Option<f64>,
}

/// A part of a text.
#[derive(Debug, Serialize)]
pub struct Span {
    pub text: String,
    /// How strongly it supports the predicted label, from -1 to 1, if the weights were computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// Runs, or combinations of a sweep, side by side.
#[derive(Debug, Serialize)]
pub struct ComparisonTable {
    /// The settings that differ, then the metrics.
    pub columns: Vec<Column>,
    pub rows: Vec<ComparedRow>,
    /// The column of the metric to rank by.
    pub by: Option<usize>,
    /// Whether lower is better.
    pub ascending: bool,
    /// Whether the rows are combinations of a sweep rather than runs.
    pub sweep: bool,
    /// Means over rows that differ only in their seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<Means>,
    /// Of a sweep over shares of the training data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_curve: Option<LearningCurve>,
}

/// Means over groups of rows of a comparison.
#[derive(Debug, Serialize)]
pub struct Means {
    /// The columns in which the rows of a group differ.
    pub over: Vec<String>,
    /// The columns of [`MeansRow::values`]; `metrics` are those of [`MeansRow::figures`].
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
    /// `finetune.epochs`, `score.test_f1`; or several that are always equal, separated by commas.
    pub name: String,
    pub metric: bool,
    /// Whether all its numbers are integers.
    pub whole: bool,
}

#[derive(Debug, Serialize)]
pub struct ComparedRow {
    /// The id of the run, or the number of the combination.
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

/// Labelled examples of one file of predictions that became right or wrong.
#[derive(Debug, Serialize)]
pub struct Flips {
    pub artifact: String,
    pub became_right: Wrong,
    pub became_wrong: Wrong,
}

impl Column {
    /// The last of several names, which is the one measured last.
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

//! Two runs of the log compared, stage by stage: which fields of the key differ, and by how much
//! the metrics. Parameters and inputs come from the records, so they are unknown once `cache gc` has
//! removed a record; the metrics are in the log itself. Predictions of labelled examples are
//! compared row by row: how many answers changed, and whether that is more than chance.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use stages::builtin::score::paired_comparison::{PairedComparison, compare_files};
use stages::builtin::score::params::ScoreParams;

use crate::files::digest::Content;
use crate::plan::reason::{Change, changes_between};
use crate::results::run_log::{LoggedRun, LoggedStage};
use crate::run::event::Outcome;
use crate::store::Store;
use crate::store::key::Key;
use crate::store::record::Record;

/// What differs between two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunDiff {
    pub from: String,
    pub to: String,
    /// In the order of the second run, then those that only the first run had.
    pub stages: Vec<StageDiff>,
}

/// What differs in one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageDiff {
    pub stage: String,
    /// `None` if that run had no such stage.
    pub from: Option<Side>,
    pub to: Option<Side>,
    /// The fields of the key that differ.
    pub changes: Vec<Change>,
    /// The keys differ, but a record has been removed, so the fields are not known.
    pub changes_unknown: bool,
    /// The metrics that differ.
    pub metrics: Vec<MetricChange>,
    /// By output: predictions of the same labelled examples, the second run against the first,
    /// if they differ.
    pub predictions: BTreeMap<String, PairedComparison>,
}

/// A stage in one of the runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Side {
    pub outcome: Outcome,
    pub key: Option<Key>,
    /// How long the stage took in that run.
    pub seconds: f64,
}

/// A final metric that differs. `None` if a run has no metric of that name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricChange {
    pub name: String,
    pub from: Option<f64>,
    pub to: Option<f64>,
    /// The second minus the first.
    pub delta: Option<f64>,
}

/// Compares two runs. `origin` names the source of an input of a stage, if it is known.
pub fn diff(
    from: &LoggedRun,
    to: &LoggedRun,
    store: &Store,
    origin: &dyn Fn(&str, &str) -> Option<String>,
) -> RunDiff {
    let gone = from.stages.iter().filter(|stage| to.stage(&stage.stage).is_none());
    let names = to.stages.iter().chain(gone).map(|stage| stage.stage.as_str());
    let positive = |content: Content| declared_positive(to, store, content);
    let stages = names.map(|name| {
        let sides = [from.stage(name), to.stage(name)];
        stage_diff(name, sides, store, &positive, &|input| origin(name, input))
    });
    RunDiff { from: from.id.clone(), to: to.id.clone(), stages: stages.collect() }
}

fn stage_diff(
    name: &str,
    [from, to]: [Option<&LoggedStage>; 2],
    store: &Store,
    positive: &dyn Fn(Content) -> Option<String>,
    origin: &dyn Fn(&str) -> Option<String>,
) -> StageDiff {
    let key = |side: Option<&LoggedStage>| side.and_then(|side| side.key);
    let (mut changes, mut changes_unknown) = (Vec::new(), false);
    let mut predictions = BTreeMap::new();
    if let (Some(old), Some(new)) = (key(from), key(to))
        && old != new
    {
        match (store.record(old), store.record(new)) {
            (Some(old), Some(new)) => {
                changes = changes_between(&old.fields, &new.fields, origin);
                predictions = compare_predictions(&old, &new, store, positive);
            }
            _ => changes_unknown = true,
        }
    }
    let side = |stage: &LoggedStage| Side {
        outcome: stage.outcome,
        key: stage.key,
        seconds: stage.seconds,
    };
    let none = BTreeMap::new();
    let metrics = |side: Option<&'_ LoggedStage>| match side {
        Some(side) => side.metrics.clone(),
        None => none.clone(),
    };
    StageDiff {
        stage: name.to_owned(),
        from: from.map(side),
        to: to.map(side),
        changes,
        changes_unknown,
        metrics: metric_changes(&metrics(from), &metrics(to)),
        predictions,
    }
}

/// The positive label that the pipeline declares for some predictions: the one of the stage that
/// made them or scored them in this run.
fn declared_positive(run: &LoggedRun, store: &Store, content: Content) -> Option<String> {
    let records = run.stages.iter().filter_map(|stage| store.record(stage.key?));
    let mut concerned = records.filter(|record| {
        let is_made_here = record.outputs.values().any(|it| it.content == content);
        is_made_here || record.fields.inputs.values().any(|it| *it == content)
    });
    concerned.find_map(|record| Some(record.fields.params.get("positive")?.as_str()?.to_owned()))
}

/// Compares the predictions of two records. Those without true labels, of different examples, or
/// no longer in the store are left out.
fn compare_predictions(
    from: &Record,
    to: &Record,
    store: &Store,
    positive: &dyn Fn(Content) -> Option<String>,
) -> BTreeMap<String, PairedComparison> {
    let Some(name) = to.fields.action.builtin() else { return BTreeMap::new() };
    let settings = ScoreParams { positive: None, replicates: 2_000, confidence: 0.95, seed: 0 };
    let compared = stages::predictions_of(name).iter().filter_map(|output| {
        let (from, to) = (from.outputs.get(*output)?.content, to.outputs.get(*output)?.content);
        let compare = |positive: Option<String>| {
            let settings = ScoreParams { positive, ..settings.clone() };
            compare_files(&store.object(to), &store.object(from), &settings).ok()
        };
        // These predictions may not know the declared label.
        let found = compare(positive(to)).or_else(|| compare(None));
        Some(((*output).to_owned(), found.filter(|_| from != to)?))
    });
    compared.collect()
}

fn metric_changes(from: &BTreeMap<String, f64>, to: &BTreeMap<String, f64>) -> Vec<MetricChange> {
    let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    let changes = names.into_iter().map(|name| {
        let (from, to) = (from.get(name).copied(), to.get(name).copied());
        let delta = from.zip(to).map(|(from, to)| to - from);
        MetricChange { name: name.clone(), from, to, delta }
    });
    changes.filter(|change| change.from != change.to).collect()
}

impl StageDiff {
    /// Whether nothing differs.
    pub fn is_same(&self) -> bool {
        let keys = self.from.map(|from| from.key) == self.to.map(|to| to.key);
        // A stage that failed or was skipped has no key, so it has no result to be the same.
        let results = [self.from, self.to].iter().flatten().all(|side| side.key.is_some());
        keys && results && self.metrics.is_empty()
    }
}

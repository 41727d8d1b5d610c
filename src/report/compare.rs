//! Compares several runs, or the combinations of a sweep; and lists what differs between two runs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use stages::data::prediction::Prediction;
use stages::data::target::Target;

use crate::report::artifacts::Artifacts;
use crate::report::data::{
    Column, ComparedRow, ComparisonTable, Difference, Flips, RunState, RunSummary,
};
use crate::report::evaluations::listed;
use crate::report::means::means;
use crate::results::run_diff::RunDiff;
use crate::results::run_log::LoggedRun;
use crate::results::sweep::curve::{LearningCurve, curve};
use crate::results::sweep::logged::{LoggedCombination, LoggedSweep};
use crate::results::sweep::results::{Came, Finished};
use crate::results::sweep::table::{table, usual_metric};
use crate::run::event::Outcome;

/// The number of metric columns, at most.
const MOST_FIGURES: usize = 12;

/// The values of a row, by name.
type Cells = BTreeMap<String, Value>;

/// Compares runs.
pub fn of_runs(runs: &[RunSummary], artifacts: &[Artifacts]) -> ComparisonTable {
    let settings: Vec<Cells> =
        runs.iter().zip(artifacts).map(|(run, artifacts)| settings(run, artifacts)).collect();
    let figures: Vec<BTreeMap<String, f64>> = runs.iter().map(figures).collect();
    let rows = runs.iter().map(|run| ComparedRow {
        name: run.id.clone(),
        state: run.state(),
        seconds: run.seconds,
        values: Vec::new(),
    });
    let stages = runs.iter().flat_map(|run| run.stages.iter().map(|stage| stage.name.as_str()));
    let stages: Vec<&str> = stages.collect();
    let by = usual(&figures, &stages);
    let mut compared = compared(rows.collect(), &settings, &figures, by, false, false);
    compared.means = means(&compared, &[]);
    compared
}

/// Compares the combinations of a sweep.
pub fn of_sweep(run: &LoggedRun, sweep: &LoggedSweep) -> ComparisonTable {
    let (mut rows, mut settings, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    for (index, combination) in sweep.combinations.iter().enumerate() {
        let values = sweep.keys.iter().cloned().zip(combination.values.iter().cloned());
        settings.push(values.filter_map(|(key, value)| Some((key, value?))).collect::<Cells>());
        let mut of = BTreeMap::new();
        let mut row = ComparedRow {
            name: (index + 1).to_string(),
            state: RunState::Done,
            seconds: 0.0,
            values: Vec::new(),
        };
        for (name, called) in &combination.stages {
            let Some(stage) = run.stage(called) else {
                row.state = RunState::Interrupted;
                continue;
            };
            row.seconds += stage.seconds;
            let metrics = stage.metrics.iter();
            of.extend(metrics.map(|(metric, value)| (format!("{name}.{metric}"), *value)));
            row.state = match (stage.outcome, row.state) {
                (Outcome::Failed, _) | (_, RunState::Failed) => RunState::Failed,
                (Outcome::Skipped, _) => RunState::Interrupted,
                (_, state) => state,
            };
        }
        rows.push(row);
        figures.push(of);
    }
    let stages = sweep.combinations.iter().flat_map(|it| it.stages.keys().map(String::as_str));
    let known = |metric: &&String| figures.iter().any(|of| of.contains_key(*metric));
    let asked = sweep.metric.as_ref().filter(known).cloned();
    let by = asked.or_else(|| usual(&figures, &stages.collect::<Vec<_>>()));
    let learning_curve = learning_curve(sweep, &rows, &figures, by.as_deref());
    let mut compared = compared(rows, &settings, &figures, by, sweep.ascending, true);
    compared.learning_curve = learning_curve;
    compared.means = means(&compared, &sweep.over);
    compared
}

/// The learning curve of a sweep, as below its table.
fn learning_curve(
    sweep: &LoggedSweep,
    rows: &[ComparedRow],
    figures: &[BTreeMap<String, f64>],
    by: Option<&str>,
) -> Option<LearningCurve> {
    let rows = rows.iter().zip(figures).zip(&sweep.combinations);
    let finished = rows.map(|((row, figures), combination)| Finished {
        values: combination.values.clone(),
        came: match row.state {
            RunState::Done => Came::Done,
            RunState::Failed => Came::Failed,
            RunState::Interrupted => Came::Unfinished,
        },
        problem: None,
        metrics: figures.clone(),
        seconds: row.seconds,
        stages: BTreeMap::new(),
        keys: BTreeMap::new(),
    });
    let finished: Vec<Finished> = finished.collect();
    curve(&table(&finished, &sweep.keys, by, sweep.ascending, &sweep.over))
}

/// The number and the combination of the best row that is done.
pub fn best<'s>(
    comparison: &'s ComparisonTable,
    sweep: &'s LoggedSweep,
) -> Option<(&'s str, &'s LoggedCombination)> {
    let value = |row: &ComparedRow| row.values.get(comparison.by?)?.as_ref()?.as_f64();
    let done = comparison.rows.iter().zip(&sweep.combinations);
    let done = done.filter(|(row, _)| row.state == RunState::Done);
    let sign = if comparison.ascending { -1.0 } else { 1.0 };
    let rank = |row: &ComparedRow| value(row).map_or(f64::NEG_INFINITY, |value| sign * value);
    // `rev` makes the first of equal rows win.
    let best = done.rev().max_by(|(one, _), (two, _)| rank(one).total_cmp(&rank(two)));
    best.map(|(row, combination)| (row.name.as_str(), combination))
}

/// The metric to rank by if none was named.
fn usual(figures: &[BTreeMap<String, f64>], stages: &[&str]) -> Option<String> {
    let known: BTreeSet<&str> =
        figures.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    usual_metric(&known, stages).map(str::to_owned)
}

/// The parameters of a run, the digests of its sources, and its profile.
fn settings(run: &RunSummary, artifacts: &Artifacts) -> Cells {
    let mut cells = Cells::new();
    if let Some(profile) = &run.profile {
        cells.insert("profile".to_owned(), Value::from(profile.clone()));
    }
    for (stage, record) in run.stages.iter().zip(&artifacts.records) {
        let Some(record) = record else { continue };
        for (name, value) in &record.fields.params {
            cells.insert(format!("{}.{name}", stage.name), value.clone());
        }
        let outside = |content| artifacts.makers(content).is_empty();
        for (name, content) in &record.fields.inputs {
            if outside(*content) {
                let digest = Value::from(content.digest.short());
                cells.insert(format!("{}.inputs.{name}", stage.name), digest);
            }
        }
    }
    cells
}

fn figures(run: &RunSummary) -> BTreeMap<String, f64> {
    let of = |stage: &crate::report::data::StageSummary| {
        let name = stage.name.clone();
        let metrics = stage.metrics.clone().into_iter();
        metrics.map(move |(metric, value)| (format!("{name}.{metric}"), value))
    };
    run.stages.iter().flat_map(of).collect()
}

/// Makes columns for what differs. Settings that always have equal values share a column.
fn compared(
    mut rows: Vec<ComparedRow>,
    settings: &[Cells],
    figures: &[BTreeMap<String, f64>],
    by: Option<String>,
    ascending: bool,
    sweep: bool,
) -> ComparisonTable {
    let mut columns: Vec<(Column, Vec<Option<Value>>)> = Vec::new();
    let names: BTreeSet<&String> = settings.iter().flat_map(BTreeMap::keys).collect();
    for name in names {
        let values: Vec<Option<Value>> = settings.iter().map(|it| it.get(name).cloned()).collect();
        let known: BTreeSet<String> = values.iter().flatten().map(Value::to_string).collect();
        // A sweep over a single value still shows it.
        if known.len() < 2 && !sweep {
            continue;
        }
        match columns.iter_mut().find(|(_, other)| *other == values) {
            Some((column, _)) => column.name.push_str(&format!(", {name}")),
            None => columns.push((column(name.clone(), false, &values), values)),
        }
    }
    for name in shown_figures(figures, by.as_deref()) {
        let value = |of: &BTreeMap<String, f64>| of.get(&name).map(|value| Value::from(*value));
        let values: Vec<Option<Value>> = figures.iter().map(value).collect();
        // A metric that two stages report with the same values is one column.
        match columns.iter_mut().find(|(column, other)| column.metric && *other == values) {
            Some((column, _)) => column.name.push_str(&format!(", {name}")),
            None => columns.push((column(name, true, &values), values)),
        }
    }
    for (_, values) in &columns {
        for (row, value) in rows.iter_mut().zip(values) {
            row.values.push(value.clone());
        }
    }
    let columns: Vec<Column> = columns.into_iter().map(|(column, _)| column).collect();
    let by = by.and_then(|by| {
        columns.iter().position(|it| it.metric && it.name.split(", ").any(|name| name == by))
    });
    ComparisonTable { columns, rows, by, ascending, sweep, means: None, learning_curve: None }
}

fn column(name: String, metric: bool, values: &[Option<Value>]) -> Column {
    let mut numbers = values.iter().flatten().filter_map(Value::as_f64);
    Column { name, metric, whole: numbers.all(|number| number.fract() == 0.0) }
}

/// The headline metrics that differ, or else all metrics that differ; the metric to rank by always
/// comes first.
fn shown_figures(figures: &[BTreeMap<String, f64>], by: Option<&str>) -> Vec<String> {
    let names: BTreeSet<&String> = figures.iter().flat_map(BTreeMap::keys).collect();
    let differs = |name: &&String| {
        let values = figures.iter().filter_map(|of| of.get(*name));
        values.map(|value| value.to_bits()).collect::<BTreeSet<u64>>().len() > 1
    };
    let differing: Vec<&String> = names.into_iter().filter(differs).collect();
    // The metrics of the last stages come first.
    let known: BTreeSet<&str> = figures
        .iter()
        .flat_map(BTreeMap::keys)
        .filter_map(|name| name.rsplit('.').next())
        .collect();
    let headline: Vec<&str> =
        stages::all().iter().rev().flat_map(|it| it.headline()).copied().collect();
    let shown = stages::headline(|name| known.contains(name));
    let rank = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        headline.iter().position(|it| *it == last).filter(|_| shown.contains(&last))
    };
    let mut wanted: Vec<&String> =
        differing.iter().copied().filter(|name| rank(name).is_some()).collect();
    wanted.sort_by_key(|name| rank(name));
    if wanted.is_empty() {
        wanted = differing;
    }
    let others = wanted.into_iter().map(String::as_str).filter(|name| Some(*name) != by);
    by.into_iter().chain(others).take(MOST_FIGURES).map(str::to_owned).collect()
}

/// The labelled examples that became right or wrong, if both runs predicted the same examples.
pub fn difference(diff: RunDiff, runs: [&RunSummary; 2], artifacts: [&Artifacts; 2]) -> Difference {
    let mut flips = Vec::new();
    for stage in &diff.stages {
        let place = |run: &RunSummary| run.stages.iter().position(|it| it.name == stage.stage);
        let (Some(from), Some(to)) = (place(runs[0]), place(runs[1])) else { continue };
        for output in stage.predictions.keys() {
            let rows = artifacts[0].predictions(from, output).ok();
            let Some((old, new)) = rows.zip(artifacts[1].predictions(to, output).ok()) else {
                continue;
            };
            let is_right = |row: &Prediction, gold: &Target| row.label == *gold;
            let changed = |to_right: bool| {
                let pairs = old.iter().zip(&new).filter(|(old, new)| {
                    new.gold.as_ref().or(old.gold.as_ref()).is_some_and(|gold| {
                        is_right(new, gold) == to_right && is_right(old, gold) != to_right
                    })
                });
                listed(artifacts[1], (to, output), pairs.map(|(old, new)| vec![old, new]).collect())
            };
            flips.push(Flips {
                artifact: artifacts[1].name(to, output),
                became_right: changed(true),
                became_wrong: changed(false),
            });
        }
    }
    Difference { diff, flips }
}

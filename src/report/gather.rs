//! One run of the log as [`data::RunSummary`]: its stages from the log, how their results were made
//! from the records, and the edges between them.

use std::collections::BTreeSet;

use crate::pipeline::{Input, Pipeline};
use crate::plan::reason::origin;
use crate::report::artifacts::Artifacts;
use crate::report::audits::audits;
use crate::report::data;
use crate::report::evaluations::evaluations;
use crate::results::git::GitState;
use crate::results::run_log::{LoggedRun, LoggedStage};
use crate::store::Store;
use crate::store::key::ActionField;
use crate::store::record::Record;
use crate::text::variants::{family, label};

/// The number of training stages to show, at most.
const MOST_TRAININGS: usize = 8;

/// The records of the stages of a run, as far as the store has them. `pipeline` is the current
/// pipeline with the overrides of the run.
pub fn artifacts<'a>(
    run: &LoggedRun,
    store: &'a Store,
    pipeline: Option<&'a Pipeline>,
) -> Artifacts<'a> {
    let record = |stage: &LoggedStage| stage.key.and_then(|key| store.record(key));
    let stages = run.stages.iter().map(|stage| (stage.stage.clone(), record(stage)));
    Artifacts::new(store, pipeline, stages.collect())
}

/// The run without anything that requires reading artifacts.
pub fn outline(
    run: &LoggedRun,
    artifacts: &Artifacts,
    pipeline: Option<&Pipeline>,
) -> data::RunSummary {
    let edges = edges(run, artifacts, pipeline);
    let stages = run.stages.iter().enumerate().map(|(place, stage)| data::StageSummary {
        name: stage.stage.clone(),
        outcome: stage.outcome,
        reason: stage.reason.clone(),
        message: stage.message.clone(),
        hint: stage.hint.clone(),
        last_lines: stage.last_lines.clone(),
        seconds: stage.seconds,
        metrics: stage.metrics.clone(),
        record: artifacts.records[place].as_ref().map(|record| {
            let from = |input: &str| origin_of(run, artifacts, &edges, pipeline, place, input);
            made(record, artifacts, &from)
        }),
    });
    data::RunSummary {
        id: run.id.clone(),
        when: run.when.clone(),
        seconds: run.seconds,
        command: run.command.clone(),
        profile: run.profile.clone(),
        set: run.set.clone(),
        interrupted: run.interrupted,
        pipe: run.pipe.clone(),
        git: run.git.as_ref().map(GitState::short),
        stages: stages.collect(),
        training: Vec::new(),
        evaluations: Vec::new(),
        audits: Vec::new(),
        notes: Vec::new(),
        edges,
    }
}

/// Adds the curves, scores and examples of the stages at the indices `places`.
pub fn fill(run: &mut data::RunSummary, artifacts: &Artifacts, places: &[usize]) {
    let gone: Vec<&str> = run
        .stages
        .iter()
        .enumerate()
        .filter(|(place, stage)| artifacts.records[*place].is_none() && has_result(stage))
        .map(|(_, stage)| stage.name.as_str())
        .collect();
    if !gone.is_empty() {
        let names = gone.join(", ");
        let note = format!(
            "The records of {names} are no longer in the cache, so only their log entries are shown."
        );
        run.notes.push(note);
    }
    for &place in places {
        let rows = artifacts.history(place);
        if !rows.is_empty() && run.training.len() < MOST_TRAININGS {
            let stage = run.stages[place].name.clone();
            run.training.push(data::Training { stage, rows });
        }
    }
    let (found, notes) = evaluations(artifacts, places);
    run.evaluations = found;
    run.notes.extend(notes);
    let (found, notes) = audits(artifacts, places);
    run.audits = found;
    run.notes.extend(notes);
}

/// Metrics by step of the stages that several runs, or several combinations of one run, have.
pub fn curves(runs: &[data::RunSummary], artifacts: &[Artifacts]) -> Vec<data::Curves> {
    let mut found: Vec<data::Curves> = Vec::new();
    for (run, artifacts) in runs.iter().zip(artifacts) {
        for (place, stage) in run.stages.iter().enumerate() {
            let rows = artifacts.history(place);
            if rows.is_empty() {
                continue;
            }
            let variant = label(&stage.name);
            let name = match (runs.len(), variant) {
                (1, Some(variant)) => variant.to_owned(),
                (_, Some(variant)) => format!("{} {variant}", run.id),
                (_, None) => run.id.clone(),
            };
            let stage = family(&stage.name);
            let curve = data::Curve { name, rows };
            match found.iter_mut().find(|curves| curves.stage == stage) {
                Some(curves) => curves.curves.push(curve),
                None => {
                    let (stage, curves) = (stage.to_owned(), vec![curve]);
                    found.push(data::Curves { stage, curves });
                }
            }
        }
    }
    found.retain(|curves| curves.curves.len() > 1);
    found
}

fn has_result(stage: &data::StageSummary) -> bool {
    use crate::run::event::Outcome::{Hit, Ran};
    matches!(stage.outcome, Hit | Ran)
}

/// The edges between stages, by index. They follow from digests: a stage reads what another one has
/// made. If several stages have made the same bytes, and for stages without a record, the edges
/// come from the pipeline or from the names in the log of a sweep.
fn edges(
    run: &LoggedRun,
    artifacts: &Artifacts,
    pipeline: Option<&Pipeline>,
) -> Vec<(usize, usize)> {
    let declared = declared(run, pipeline);
    let mut edges = BTreeSet::new();
    for (reader, record) in artifacts.records.iter().enumerate() {
        let Some(record) = record else {
            edges.extend(declared.iter().filter(|(_, it)| *it == reader));
            continue;
        };
        for content in record.fields.inputs.values() {
            let makers = artifacts.makers(*content).iter().map(|(maker, _)| *maker);
            let makers: Vec<usize> = makers.filter(|maker| *maker != reader).collect();
            let meant = makers.iter().find(|maker| declared.contains(&(**maker, reader)));
            edges.extend(meant.or(makers.first()).map(|maker| (*maker, reader)));
        }
    }
    edges.into_iter().collect()
}

/// The edges that the current pipeline declares.
fn declared(run: &LoggedRun, pipeline: Option<&Pipeline>) -> BTreeSet<(usize, usize)> {
    let place = |name: &str| run.stages.iter().position(|stage| stage.stage == name);
    let mut edges = BTreeSet::new();
    let mut add = |called: &dyn Fn(&str) -> Option<usize>| {
        for stage in pipeline.iter().flat_map(|pipeline| &pipeline.stages) {
            for input in stage.inputs.values() {
                if let Input::Artifact { stage: maker, .. } = input {
                    edges.extend(called(maker).zip(called(&stage.name)));
                }
            }
        }
    };
    match &run.sweep {
        None => add(&place),
        Some(sweep) => sweep
            .combinations
            .iter()
            .for_each(|it| add(&|name| place(it.stages.get(name).map_or(name, String::as_str)))),
    }
    edges
}

fn made(
    record: &Record,
    artifacts: &Artifacts,
    origin: &dyn Fn(&str) -> Option<String>,
) -> data::Provenance {
    let (builtin, version, command) = match &record.fields.action {
        ActionField::Builtin { name, version } => (Some(name.clone()), Some(*version), None),
        ActionField::Command { text } => (None, None, Some(text.clone())),
    };
    let inputs = record.fields.inputs.iter().map(|(name, content)| data::InputOrigin {
        name: name.clone(),
        digest: content.digest.short(),
        origin: origin(name),
    });
    let outputs = record.outputs.iter().map(|(name, artifact)| data::OutputSummary {
        name: name.clone(),
        digest: artifact.content.digest.short(),
        bytes: artifact.bytes,
        kept: artifacts.holds(artifact),
    });
    data::Provenance {
        builtin,
        version,
        command,
        params: record.fields.params.clone(),
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        seconds: record.seconds,
        device: record.device.clone(),
        machine: record.machine.clone(),
        threads: record.threads,
        when: record.when.clone(),
        pipe: record.pipe.clone(),
        bytes: record.outputs.values().map(|artifact| artifact.bytes).sum(),
    }
}

/// `stage:output`, or the path or URL that the pipeline declares.
fn origin_of(
    run: &LoggedRun,
    artifacts: &Artifacts,
    edges: &[(usize, usize)],
    pipeline: Option<&Pipeline>,
    reader: usize,
    input: &str,
) -> Option<String> {
    let content = artifacts.records[reader].as_ref()?.fields.inputs.get(input)?;
    let makers = artifacts.makers(*content);
    let meant = makers.iter().find(|(maker, _)| edges.contains(&(*maker, reader)));
    if let Some((maker, output)) = meant {
        return Some(artifacts.name(*maker, output));
    }
    let stage = pipeline?.stage(&run.stages[reader].stage)?;
    match stage.inputs.get(input)? {
        // The current pipeline reads another stage here, so these bytes are not from there.
        Input::Artifact { .. } => None,
        outside => Some(origin(outside)),
    }
}

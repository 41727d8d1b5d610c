//! The plan: for every selected stage, in topological order, whether it is a hit, has to run, or
//! waits for bytes that are not known yet. Planning writes nothing; a run decides the waiting
//! stages by the same functions as soon as their inputs are known.

pub mod folder_change;
pub mod graph;
pub mod history;
mod key_of;
pub mod listing;
pub mod reason;
pub mod sentence;
pub mod sources;

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use crate::files::digest::Content;
use crate::pipeline::{Input, Output, Pipeline, Stage};
use crate::plan::graph::Graph;
use crate::plan::reason::{Change, Reason, changes};
use crate::plan::sources::{FoundSource, Sources, SourcesError};
use crate::store::Store;
use crate::store::key::{Key, KeyFields};
use crate::store::record::{Artifact, Record};

/// What will happen, stage by stage.
#[derive(Debug)]
pub struct Plan {
    /// In topological order.
    pub stages: Vec<PlannedStage>,
}

/// One stage of the plan.
#[derive(Debug)]
pub struct PlannedStage {
    /// Its place in [`Pipeline::stages`].
    pub stage: usize,
    pub decision: Decision,
    /// What it took the last time, if it ever ran.
    pub seconds: Option<f64>,
    /// Its decision is a hit whatever its inputs are.
    pub frozen: Option<Frozen>,
}

/// A stage that never runs: the record of its hit is its newest one.
#[derive(Debug)]
pub struct Frozen {
    /// How the record's key differs from now, as far as that is known.
    pub differs: Option<Reason>,
}

/// What a stage comes to.
#[derive(Debug)]
pub enum Decision {
    /// A record with all its objects is there.
    Hit(Box<Record>),
    Run {
        key: Key,
        reason: Reason,
    },
    /// The key needs digests that are not known yet.
    Wait(Wait),
}

/// What a stage waits for.
#[derive(Debug)]
pub struct Wait {
    /// Stages that have to run first.
    pub stages: BTreeSet<String>,
    /// Inputs that have to be downloaded first.
    pub downloads: BTreeSet<String>,
    /// Why it will run whatever comes: what differs already from every earlier record. `None`:
    /// it may still be cut off.
    pub certain: Option<Reason>,
}

/// A stage whose inputs are all known.
#[derive(Debug)]
pub struct Resolved {
    pub fields: KeyFields,
    pub key: Key,
    pub places: BTreeMap<String, Place>,
}

/// Where an input's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Source(FoundSource),
    Object { artifact: Artifact, stage: String },
}

/// A stage as far as its inputs are known.
#[derive(Debug)]
pub enum Resolution {
    Known(Box<Resolved>),
    Unknown { known: BTreeMap<String, Content>, stages: BTreeSet<String>, downloads: Vec<Input> },
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("stage `{stage}` (line {line}), input `{input}`: {source}")]
    Input { stage: String, line: usize, input: String, source: SourcesError },
    #[error("stage `{stage}` (line {line}) is frozen, but the store holds no whole result of it")]
    NothingFrozen { stage: String, line: usize },
}

impl PlanError {
    /// Where the pipeline declares the stage.
    pub fn line(&self) -> usize {
        match self {
            PlanError::Input { line, .. } | PlanError::NothingFrozen { line, .. } => *line,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::Input { source, .. } => source.hint(),
            PlanError::NothingFrozen { stage, .. } => {
                Some(format!("run `{stage}` once without `frozen: true`"))
            }
        }
    }
}

/// Plans the stages in `selected`, which come with all that they need.
pub fn plan(
    pipeline: &Pipeline,
    graph: &Graph,
    selected: &BTreeSet<usize>,
    forced: &BTreeSet<String>,
    sources: &Sources,
    store: &Store,
) -> Result<Plan, PlanError> {
    let order = || graph.order().iter().copied().filter(|index| selected.contains(index));
    // Stages of one level do not read from each other.
    let mut levels: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in order() {
        levels.entry(graph.level(index)).or_default().push(index);
    }
    let mut outputs: BTreeMap<&str, BTreeMap<String, Artifact>> = BTreeMap::new();
    let mut planned: BTreeMap<usize, PlannedStage> = BTreeMap::new();
    for level in levels.into_values() {
        let artifact = |stage: &str, output: &str| outputs.get(stage)?.get(output).copied();
        let plan_one = |index: usize| {
            let stage = &pipeline.stages[index];
            let is_forced = forced.contains(&stage.name);
            let (decision, frozen) = match stage.handling.frozen {
                true => {
                    let (record, frozen) = plan_frozen(stage, &artifact, sources, store)?;
                    (Decision::Hit(record), Some(frozen))
                }
                false => (plan_stage(stage, is_forced, &artifact, sources, store)?, None),
            };
            let seconds = match &decision {
                Decision::Hit(record) => Some(record.seconds),
                other => seconds_of_nearest(stage, other, store),
            };
            Ok(PlannedStage { stage: index, decision, seconds, frozen })
        };
        // Starting threads takes longer than planning a few stages.
        let level: Result<Vec<PlannedStage>, PlanError> = match level.len() {
            0..WORTH_THREADS => level.into_iter().map(plan_one).collect(),
            _ => level.into_par_iter().map(plan_one).collect(),
        };
        for stage in level? {
            if let Decision::Hit(record) = &stage.decision {
                let name = pipeline.stages[stage.stage].name.as_str();
                outputs.insert(name, record.outputs.clone());
            }
            planned.insert(stage.stage, stage);
        }
    }
    let stages = order().filter_map(|index| planned.remove(&index)).collect();
    Ok(Plan { stages })
}

/// From how many stages on a level is planned by several threads.
const WORTH_THREADS: usize = 32;

/// What a stage took in the run that it is compared with, else in its newest.
fn seconds_of_nearest(stage: &Stage, decision: &Decision, store: &Store) -> Option<f64> {
    let nearest = match decision {
        Decision::Run { reason: Reason::Changed { key, .. }, .. } => store.record(*key),
        Decision::Wait(Wait { certain: Some(Reason::Changed { key, .. }), .. }) => {
            store.record(*key)
        }
        _ => None,
    };
    let newest = || store.history_of(stage, 1).first().map(|record| record.seconds);
    nearest.map(|record| record.seconds).or_else(newest)
}

fn plan_stage(
    stage: &Stage,
    forced: bool,
    artifact: &dyn Fn(&str, &str) -> Option<Artifact>,
    sources: &Sources,
    store: &Store,
) -> Result<Decision, PlanError> {
    Ok(match resolve(stage, artifact, sources)? {
        Resolution::Known(resolved) => decide(stage, &resolved, forced, sources, store),
        Resolution::Unknown { known, stages, downloads } => Decision::Wait(Wait {
            stages,
            downloads: downloads.iter().map(Input::to_string).collect(),
            certain: certain_reason(stage, known, forced, sources, store),
        }),
    })
}

/// The result of a stage that never runs: its newest record with all objects that readers may
/// ask for. One of just this key goes first: then the stage is simply up to date.
fn plan_frozen(
    stage: &Stage,
    artifact: &dyn Fn(&str, &str) -> Option<Artifact>,
    sources: &Sources,
    store: &Store,
) -> Result<(Box<Record>, Frozen), PlanError> {
    let is_whole = |record: &Record| {
        let declared = |output: &Output| record.outputs.contains_key(&output.name);
        stage.outputs.iter().all(declared)
            && record.outputs.values().all(|artifact| store.holds(artifact))
    };
    let (fields, known) = match resolve(stage, artifact, sources)? {
        Resolution::Known(resolved) => {
            if let Some(record) = store.record(resolved.key).filter(is_whole) {
                return Ok((Box::new(record), Frozen { differs: None }));
            }
            (resolved.fields, true)
        }
        Resolution::Unknown { known, .. } => (KeyFields::of(stage, known), false),
    };
    // Variants share their history, but one is not another's result.
    let is_own = |record: &Record| stage.family() == stage.name || record.stage == stage.name;
    let records = store.records_of_stage(stage.family(), usize::MAX);
    let found = records.into_iter().find(|record| is_own(record) && is_whole(record));
    let Some(record) = found else {
        let (stage, line) = (stage.name.clone(), stage.line);
        return Err(PlanError::NothingFrozen { stage, line });
    };
    let mut changes = changes(stage, &record.fields, &fields);
    if !known {
        changes.retain(|change| !is_unknown(stage, change));
    }
    let (since, key) = (record.when.clone(), record.key);
    let mut differs = (!changes.is_empty()).then_some(Reason::Changed { changes, since, key });
    if let Some(differs) = &mut differs {
        differs.name_files(&|folder| listing::read(folder, store, sources));
    }
    Ok((Box::new(record), Frozen { differs }))
}

/// Finds the inputs of a stage. `artifact` knows what other stages have produced so far.
pub fn resolve(
    stage: &Stage,
    artifact: &dyn Fn(&str, &str) -> Option<Artifact>,
    sources: &Sources,
) -> Result<Resolution, PlanError> {
    let mut places = BTreeMap::new();
    let mut contents = BTreeMap::new();
    let mut stages = BTreeSet::new();
    let mut downloads = Vec::new();
    for (name, input) in &stage.inputs {
        let place = match input {
            Input::Artifact { stage, output } => {
                let artifact = artifact(stage, output);
                if artifact.is_none() {
                    stages.insert(stage.clone());
                }
                artifact.map(|artifact| Place::Object { artifact, stage: stage.clone() })
            }
            other => {
                let found = sources.find(other).map_err(|source| PlanError::Input {
                    stage: stage.name.clone(),
                    line: stage.line,
                    input: name.clone(),
                    source,
                })?;
                if found.is_none() {
                    downloads.push(other.clone());
                }
                found.map(Place::Source)
            }
        };
        if let Some(place) = place {
            contents.insert(name.clone(), place.content());
            places.insert(name.clone(), place);
        }
    }
    if !stages.is_empty() || !downloads.is_empty() {
        return Ok(Resolution::Unknown { known: contents, stages, downloads });
    }
    let fields = KeyFields::of(stage, contents);
    let key = fields.key();
    Ok(Resolution::Known(Box::new(Resolved { fields, key, places })))
}

/// Whether a stage with known inputs is a hit. A hit is believed only if every object that it
/// names is there.
pub fn decide(
    stage: &Stage,
    resolved: &Resolved,
    forced: bool,
    sources: &Sources,
    store: &Store,
) -> Decision {
    let key = resolved.key;
    if let Some(reason) = regardless(stage, forced) {
        return Decision::Run { key, reason };
    }
    let Some(record) = store.record(key) else {
        let mut reason = Reason::of_new_key(stage, &resolved.fields, store);
        reason.name_files(&|folder| listing::read(folder, store, sources));
        return Decision::Run { key, reason };
    };
    let missing = record.outputs.iter().find(|(_, artifact)| !store.holds(artifact));
    match missing {
        Some((output, artifact)) => Decision::Run {
            key,
            reason: Reason::ObjectMissing { output: output.clone(), content: artifact.content },
        },
        None => Decision::Hit(Box::new(record)),
    }
}

/// What already differs from every earlier record of the stage, before its inputs are known.
fn certain_reason(
    stage: &Stage,
    known: BTreeMap<String, Content>,
    forced: bool,
    sources: &Sources,
    store: &Store,
) -> Option<Reason> {
    if let Some(reason) = regardless(stage, forced) {
        return Some(reason);
    }
    let mut reason = Reason::of_partial_key(stage, &KeyFields::of(stage, known), store)?;
    reason.name_files(&|folder| listing::read(folder, store, sources));
    Some(reason)
}

/// An input that is not known yet looks removed; it may turn out to be the same.
fn is_unknown(stage: &Stage, change: &Change) -> bool {
    match change {
        Change::Input { name, to: None, .. } => stage.inputs.contains_key(name),
        _ => false,
    }
}

/// Why a stage runs whether there is a record or not.
fn regardless(stage: &Stage, forced: bool) -> Option<Reason> {
    if forced {
        return Some(Reason::Forced);
    }
    stage.handling.always.then_some(Reason::Always)
}

impl Place {
    pub fn content(&self) -> Content {
        match self {
            Place::Source(found) => found.source.content,
            Place::Object { artifact, .. } => artifact.content,
        }
    }
}

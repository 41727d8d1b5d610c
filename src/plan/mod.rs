//! The plan: whether each selected stage is a cache hit, has to run, or waits for inputs that are
//! not known yet. Planning writes nothing. As soon as the inputs of a waiting stage are known, the
//! run decides about it by the same functions.

pub mod drawing;
pub mod error;
pub mod folder_change;
pub mod graph;
pub mod history;
pub mod inputs;
pub mod key_of;
pub mod listing;
pub mod reason;
pub mod sentence;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;

use crate::files::digest::Content;
use crate::pipeline::{Input, Output, Pipeline, Stage, StageIndex};
use crate::plan::error::PlanError;
use crate::plan::graph::Graph;
use crate::plan::inputs::{FoundInputs, KeyedStage, find_inputs};
use crate::plan::reason::{Change, Reason, changes};
use crate::sources::Sources;
use crate::store::Store;
use crate::store::key::{Key, KeyFields};
use crate::store::record::{Artifact, Record};

/// What a run would do, stage by stage.
#[derive(Debug)]
pub struct Plan {
    /// In topological order.
    pub stages: Vec<PlannedStage>,
}

/// One stage of the plan.
#[derive(Debug)]
pub struct PlannedStage {
    pub stage: StageIndex,
    pub decision: Decision,
    /// How long the stage took when it last ran, if it ever did.
    pub seconds: Option<f64>,
    /// Set if the stage is frozen: its decision is a hit, whatever its inputs are.
    pub frozen: Option<Frozen>,
}

/// A frozen stage never runs; its newest record is the hit.
#[derive(Debug)]
pub struct Frozen {
    /// How the record's key differs from the current one, as far as that is known.
    pub differs: Option<Reason>,
}

/// What happens to a stage.
#[derive(Debug)]
pub enum Decision {
    /// The store has a record of this key and all objects that it names.
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
    /// Why the stage will run whatever its unknown inputs turn out to be: the fields that already
    /// differ from every earlier record. `None` if it may still be a hit.
    pub certain: Option<Reason>,
}

/// Plans the stages in `selected`, which must contain every stage that they need.
pub fn plan(
    pipeline: &Pipeline,
    graph: &Graph,
    selected: &BTreeSet<StageIndex>,
    forced: &BTreeSet<String>,
    sources: &Sources,
    store: &Store,
) -> Result<Plan, PlanError> {
    let order = || graph.order().iter().copied().filter(|index| selected.contains(index));
    // Stages of one level never read from one another.
    let mut levels: BTreeMap<usize, Vec<StageIndex>> = BTreeMap::new();
    for index in order() {
        levels.entry(graph.level(index)).or_default().push(index);
    }
    let by_name: HashMap<&str, StageIndex> =
        selected.iter().map(|index| (pipeline[*index].name.as_str(), *index)).collect();
    let mut planned: HashMap<StageIndex, PlannedStage> = HashMap::with_capacity(selected.len());
    for level in levels.into_values() {
        let artifact = |stage: &str, output: &str| match &planned.get(by_name.get(stage)?)?.decision
        {
            Decision::Hit(record) => record.outputs.get(output).copied(),
            _ => None,
        };
        let plan_one = |index: StageIndex| {
            let stage = &pipeline[index];
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
        planned.extend(level?.into_iter().map(|stage| (stage.stage, stage)));
    }
    let stages = order().filter_map(|index| planned.remove(&index)).collect();
    Ok(Plan { stages })
}

/// From this many stages on, several threads plan a level.
const WORTH_THREADS: usize = 32;

/// How long a stage took, in the run that its reason compares with or else in its newest run.
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
    Ok(match find_inputs(stage, artifact, sources)? {
        FoundInputs::All(keyed) => decide(stage, &keyed, forced, sources, store),
        FoundInputs::Incomplete { known, stages, downloads } => Decision::Wait(Wait {
            stages,
            downloads: downloads.iter().map(Input::to_string).collect(),
            certain: certain_reason(stage, known, forced, sources, store),
        }),
    })
}

/// The result of a frozen stage: the record of its current key, else its newest record. Either must
/// have all declared outputs, with all their objects.
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
    let (fields, known) = match find_inputs(stage, artifact, sources)? {
        FoundInputs::All(keyed) => {
            if let Some(record) = store.record(keyed.key).filter(is_whole) {
                return Ok((Box::new(record), Frozen { differs: None }));
            }
            (keyed.fields, true)
        }
        FoundInputs::Incomplete { known, .. } => (Arc::new(KeyFields::of(stage, known)), false),
    };
    // Variants share a history, but the result of one is not the result of another.
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

/// Decides whether a stage with known inputs is a hit or runs. A record counts as a hit only if
/// every object that it names is there.
pub fn decide(
    stage: &Stage,
    keyed: &KeyedStage,
    forced: bool,
    sources: &Sources,
    store: &Store,
) -> Decision {
    let key = keyed.key;
    if let Some(reason) = regardless(stage, forced) {
        return Decision::Run { key, reason };
    }
    let Some(record) = store.record_of(key, &keyed.fields) else {
        let mut reason = Reason::of_new_key(stage, &keyed.fields, store);
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

/// Why a stage will run whatever its unknown inputs turn out to be; see [`Wait::certain`].
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

/// Whether a change may vanish later: an input that is not known yet looks like a removed one.
fn is_unknown(stage: &Stage, change: &Change) -> bool {
    match change {
        Change::Input { name, to: None, .. } => stage.inputs.contains_key(name),
        _ => false,
    }
}

/// Why a stage runs even if the store has its record.
fn regardless(stage: &Stage, forced: bool) -> Option<Reason> {
    if forced {
        return Some(Reason::Forced);
    }
    stage.handling.always.then_some(Reason::Always)
}

//! Combines many pipelines into one. Stages with equal definitions become one stage; the others
//! become variants, named after the values that distinguish them: `finetune@learning_rate=1e-5`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::pipeline::{Input, LoadedCombination, Pipeline, Stage, StageIndex};
use crate::plan::graph::Graph;
use crate::results::sweep::short_names;
use crate::text::variants::{label, value_label};

/// The longest name of a stage in bytes, so that it can be a file name.
const MAX_NAME: usize = 200;

/// One combination.
#[derive(Clone, Debug)]
pub struct SweepRow {
    /// The value of each key of the sweep; `None` if the key has no meaning in this combination.
    pub values: Vec<Option<Value>>,
    /// The stages of the file, and the index of each in the combined pipeline.
    pub stages: BTreeMap<String, StageIndex>,
}

/// The label of the variant that has the most common value of every key.
const USUAL: &str = "usual";

/// Combines the pipelines of all combinations into one, and returns where each combination is in
/// it. The combined pipeline publishes nothing: each combination would overwrite the files of the
/// one before.
pub fn combine(loaded: Vec<LoadedCombination>, keys: &[String]) -> (Pipeline, Vec<SweepRow>) {
    let mut stages: Vec<Stage> = Vec::new();
    // Stages that are equal apart from name and line share one index in `stages`.
    let mut places: HashMap<String, StageIndex> = HashMap::new();
    let mut rows: Vec<SweepRow> = Vec::with_capacity(loaded.len());
    let mut frame = Pipeline::default();
    for LoadedCombination { mut pipeline, values } in loaded {
        let mut of_row: BTreeMap<String, StageIndex> = BTreeMap::new();
        let order: Vec<StageIndex> = Graph::new(&pipeline).order().to_vec();
        let own = std::mem::take(&mut pipeline.stages);
        let mut own: Vec<Option<Stage>> = own.into_iter().map(Some).collect();
        frame = pipeline;
        for index in order {
            let Some(mut stage) = own[index.0].take() else { continue };
            stage.publish.clear();
            // Until the combined stages have names, an input refers to them by index.
            for input in stage.inputs.values_mut() {
                if let Input::Artifact { stage, .. } = input
                    && let Some(place) = of_row.get(stage)
                {
                    *stage = place.0.to_string();
                }
            }
            let name = stage.name.clone();
            let definition = format!("{stage:?}");
            let place = *places.entry(definition).or_insert_with(|| {
                stages.push(stage);
                StageIndex(stages.len() - 1)
            });
            of_row.insert(name, place);
        }
        rows.push(SweepRow { values, stages: of_row });
    }
    let names = names(&stages, &rows, keys);
    for stage in &mut stages {
        for input in stage.inputs.values_mut() {
            if let Input::Artifact { stage, .. } = input
                && let Some(name) = stage.parse().ok().and_then(|place: usize| names.get(place))
            {
                stage.clone_from(name);
            }
        }
    }
    for (stage, name) in stages.iter_mut().zip(names) {
        stage.name = name;
    }
    (Pipeline { stages, ..frame }, rows)
}

/// The name of each combined stage.
fn names(stages: &[Stage], rows: &[SweepRow], keys: &[String]) -> Vec<String> {
    // By stage of the file: the combined stages, and the combinations that use each.
    let mut users: BTreeMap<&str, BTreeMap<StageIndex, Vec<usize>>> = BTreeMap::new();
    for (row, SweepRow { stages, .. }) in rows.iter().enumerate() {
        for (name, place) in stages {
            users.entry(name).or_default().entry(*place).or_default().push(row);
        }
    }
    let mut names: Vec<String> = stages.iter().map(|stage| stage.name.clone()).collect();
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (name, places) in users {
        if places.len() == 1 {
            taken.insert(name.to_owned());
            continue;
        }
        let axes = distinguishing_keys(&places, rows, keys.len());
        let axis_keys: Vec<String> = axes.iter().map(|axis| keys[*axis].clone()).collect();
        let labels = short_names(&axis_keys);
        let usual = usual(&axes, &places, rows);
        for (StageIndex(place), users) in places {
            let values = &rows[users[0]].values;
            let part = |(axis, (label, usual)): (&usize, (&String, &Option<String>))| {
                let text = values[*axis].as_ref().map(value_label)?;
                (usual.as_ref() != Some(&text)).then(|| format!("{label}={text}"))
            };
            let mut parts: Vec<String> =
                axes.iter().zip(labels.iter().zip(&usual)).filter_map(part).collect();
            if parts.is_empty() {
                parts.push(USUAL.to_owned());
            }
            let separator = if label(name).is_some() { ',' } else { '@' };
            let mut full = format!("{name}{separator}{}", parts.join(","));
            if full.len() > MAX_NAME {
                full.truncate(MAX_NAME / 2);
                full = format!("{full}variant-{place}");
            }
            // Different values may become the same label.
            while !taken.insert(full.clone()) {
                full = format!("{full}-{place}");
            }
            names[place] = full;
        }
    }
    names
}

/// The most common value of each key, which is left out of the names. If the stages cover every
/// combination of the values, no value is left out.
fn usual(
    axes: &[usize],
    places: &BTreeMap<StageIndex, Vec<usize>>,
    rows: &[SweepRow],
) -> Vec<Option<String>> {
    let mut counts: Vec<BTreeMap<String, usize>> = vec![BTreeMap::new(); axes.len()];
    for users in places.values() {
        for (axis, counts) in axes.iter().zip(&mut counts) {
            let value = rows[users[0]].values[*axis].as_ref().map(value_label);
            *counts.entry(value.unwrap_or_default()).or_default() += 1;
        }
    }
    let product = counts.iter().map(BTreeMap::len).try_fold(1usize, usize::checked_mul);
    let most = |counts: BTreeMap<String, usize>| {
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(value, _)| value)
    };
    match product == Some(places.len()) {
        true => vec![None; axes.len()],
        false => counts.into_iter().map(most).collect(),
    }
}

/// The smallest set of keys whose values distinguish the variants of a stage; earlier keys are
/// preferred.
fn distinguishing_keys(
    places: &BTreeMap<StageIndex, Vec<usize>>,
    rows: &[SweepRow],
    keys: usize,
) -> Vec<usize> {
    // Values are numbered, since numbers are faster to compare.
    let place_of: BTreeMap<usize, StageIndex> =
        places.iter().flat_map(|(place, users)| users.iter().map(|row| (*row, *place))).collect();
    let mut numbers: Vec<Vec<usize>> = Vec::with_capacity(keys);
    for key in 0..keys {
        let mut known: HashMap<String, usize> = HashMap::new();
        let number = |row: &usize| {
            let text = rows[*row].values[key].as_ref().map(Value::to_string).unwrap_or_default();
            let next = known.len();
            *known.entry(text).or_insert(next)
        };
        numbers.push(place_of.keys().map(number).collect());
    }
    let distinguish = |axes: &[usize]| {
        let mut seen: HashMap<Vec<usize>, StageIndex> = HashMap::new();
        place_of.values().enumerate().all(|(at, place)| {
            let values = axes.iter().map(|axis| numbers[*axis][at]).collect();
            *seen.entry(values).or_insert(*place) == *place
        })
    };
    let mut axes: Vec<usize> = (0..keys).collect();
    for axis in (0..keys).rev() {
        let fewer: Vec<usize> = axes.iter().copied().filter(|other| *other != axis).collect();
        if distinguish(&fewer) {
            axes = fewer;
        }
    }
    axes
}

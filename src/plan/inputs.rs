//! The inputs of a stage: where their bytes are, and the key that follows from them once all of
//! them are known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::files::digest::Content;
use crate::pipeline::{Input, Stage};
use crate::plan::error::PlanError;
use crate::sources::{FoundSource, Sources};
use crate::store::key::{Key, KeyFields};
use crate::store::record::Artifact;

/// Where an input's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputLocation {
    /// Outside the store, at a path.
    Source(FoundSource),
    /// In the store, as an output of `stage`.
    Object { artifact: Artifact, stage: String },
}

impl InputLocation {
    pub fn content(&self) -> Content {
        match self {
            InputLocation::Source(found) => found.hashed.content,
            InputLocation::Object { artifact, .. } => artifact.content,
        }
    }
}

/// A stage whose inputs are all known, and so is its key.
#[derive(Debug)]
pub struct KeyedStage {
    pub fields: Arc<KeyFields>,
    pub key: Key,
    /// By the input's name.
    pub inputs: BTreeMap<String, InputLocation>,
}

/// What [`find_inputs`] found.
#[derive(Debug)]
pub enum FoundInputs {
    All(Box<KeyedStage>),
    Incomplete {
        known: BTreeMap<String, Content>,
        /// Stages that have to run first.
        stages: BTreeSet<String>,
        /// Inputs that have to be downloaded first.
        downloads: Vec<Input>,
    },
}

/// Finds the inputs of a stage. `artifact` looks up an output of another stage, by the names of the
/// stage and the output; it returns `None` until that stage has run.
pub fn find_inputs(
    stage: &Stage,
    artifact: &dyn Fn(&str, &str) -> Option<Artifact>,
    sources: &Sources,
) -> Result<FoundInputs, PlanError> {
    let mut inputs = BTreeMap::new();
    let mut known = BTreeMap::new();
    let mut stages = BTreeSet::new();
    let mut downloads = Vec::new();
    for (name, input) in &stage.inputs {
        let location = match input {
            Input::Artifact { stage, output } => {
                let artifact = artifact(stage, output);
                if artifact.is_none() {
                    stages.insert(stage.clone());
                }
                artifact.map(|artifact| InputLocation::Object { artifact, stage: stage.clone() })
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
                found.map(InputLocation::Source)
            }
        };
        if let Some(location) = location {
            known.insert(name.clone(), location.content());
            inputs.insert(name.clone(), location);
        }
    }
    if !stages.is_empty() || !downloads.is_empty() {
        return Ok(FoundInputs::Incomplete { known, stages, downloads });
    }
    let fields = Arc::new(KeyFields::of(stage, known));
    let key = fields.key();
    Ok(FoundInputs::All(Box::new(KeyedStage { fields, key, inputs })))
}

//! The inputs of a stage that runs: read in full before it starts, and checked again when it has
//! ended. Objects are read-only, but that does not stop the superuser from writing to them.

use std::fs;

use crate::files::digest::Content;
use crate::files::stamp::{Stamp, file_clock_ns};
use crate::plan::inputs::{InputLocation, KeyedStage};
use crate::run::context::RunContext;
use crate::run::failure::StageFailure;
use crate::store::Store;

/// What the objects among the inputs looked like before the stage started.
pub struct Untouched {
    /// For each file: the input it belongs to, its object, and its stamp (`None` if that could not
    /// be read).
    stamps: Vec<(String, Content, Option<Stamp>)>,
    taken_ns: i64,
}

/// Reads every input that is an object in full: a stage must not compute from bytes other than
/// those that its record will name.
pub(super) fn verify_inputs(
    resolved: &KeyedStage,
    context: &RunContext,
) -> Result<Untouched, StageFailure> {
    let store = context.store;
    let mut untouched = Untouched { stamps: Vec::new(), taken_ns: 0 };
    for (input, place) in &resolved.inputs {
        let InputLocation::Object { artifact, stage } = place else { continue };
        let verified = store.verify(artifact.content, context.scratch)?;
        verified.map_err(|damaged| StageFailure::DamagedInput {
            input: input.clone(),
            stage: stage.clone(),
            digest: damaged.0,
        })?;
        for content in store.files_of(artifact.content).unwrap_or_default() {
            untouched.stamps.push((input.clone(), content, stamp(store, content)));
        }
    }
    untouched.taken_ns = file_clock_ns();
    Ok(untouched)
}

impl Untouched {
    /// Checks that the objects are unchanged. Objects that were written to are moved away.
    pub(super) fn check(&self, context: &RunContext) -> Result<(), StageFailure> {
        let store = context.store;
        for (input, content, before) in &self.stamps {
            let same = *before == stamp(store, *content);
            if same && before.is_some_and(|before| before.is_settled(self.taken_ns)) {
                continue;
            }
            if store.verify(*content, context.scratch)?.is_err() {
                return Err(StageFailure::WroteToInput { input: input.clone() });
            }
        }
        Ok(())
    }
}

fn stamp(store: &Store, content: Content) -> Option<Stamp> {
    fs::metadata(store.object(content)).ok().map(|metadata| Stamp::of(&metadata))
}

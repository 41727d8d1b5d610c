//! What all stages of a run share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::executor::Executor;
use crate::files::file_error::FileError;
use crate::files::scratch::Scratch;
use crate::pipeline::Pipeline;
use crate::plan::graph::Graph;
use crate::remote::Remote;
use crate::sources::Sources;
use crate::store::Store;

/// The surroundings of a run: what a stage needs besides its own definition.
pub struct RunContext<'a> {
    pub pipeline: &'a Pipeline,
    pub graph: &'a Graph,
    pub sources: &'a Sources,
    pub store: &'a Store,
    /// Where temporary files of this run go; see [`prepare_store`].
    pub scratch: &'a Scratch,
    /// Asked before a stage is computed, and given the computed results.
    pub remote: Option<&'a Arc<Remote>>,
    pub executor: &'a dyn Executor,
    /// This program, which runs the built-in stages.
    pub binary: &'a Path,
    /// `auto`, `cpu`, `cuda`, `cuda:N`, `vulkan` or `vulkan:N`.
    pub device: &'a str,
    /// How many threads a stage may use; 0 for all cores.
    pub threads: usize,
    /// The user has interrupted the run, so no attempt is repeated.
    pub interrupted: AtomicBool,
}

/// Makes the store ready for a run, and returns the run's scratch folder.
pub fn prepare_store(store: &Store) -> Result<Scratch, FileError> {
    store.prepare()?;
    let scratch = Scratch::new(&store.scratch_folder())?;
    store.hide(&scratch)?;
    Ok(scratch)
}

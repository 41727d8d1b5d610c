//! What a built-in stage is: its name, version, inputs, parameters, outputs, and the function
//! that does the work. The engine checks pipelines against this and never looks further; the
//! traits live below both those who implement them and those who call them.

pub(crate) mod choice;
pub mod error;
pub mod event;
pub mod manifest;
pub mod output;
pub mod params;
pub mod progress;

use std::path::{Path, PathBuf};

use crate::stage::error::StageError;
use crate::stage::event::{Event, Events};
use crate::stage::manifest::Manifest;
use crate::stage::params::{ParamSpec, Params};

/// A built-in stage. All but [`Stage::run`] is data that the engine reads before anything runs.
pub trait Stage: Sync {
    /// What `uses:` says, for instance `finetune`.
    fn name(&self) -> &'static str;

    /// Enters the key. Raise it whenever the same inputs and parameters may give other bytes.
    fn version(&self) -> u32;

    /// One line for `pipe stages` and the README.
    fn summary(&self) -> &'static str;

    /// The inputs that a pipeline may wire, in the order in which they are documented.
    fn inputs(&self) -> &'static [InputSpec];

    /// The outputs; those with [`OutputSpec::given`] exist only where that input is wired.
    fn outputs(&self) -> &'static [OutputSpec];

    /// The parameters with their types, ranges and defaults.
    fn params(&self) -> &'static [ParamSpec];

    /// Checks what no single parameter or input shows: which combinations make sense.
    /// `wired` holds the names of the inputs that the pipeline gives.
    fn check(&self, _params: &Params, _wired: &[&str]) -> Result<(), CheckError> {
        Ok(())
    }

    /// The metrics that a person wants to see first, in their order.
    fn headline(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the state that a run leaves is the beginning of a longer one.
    fn continuation(&self, _params: &Params) -> Continuation {
        Continuation::None
    }

    /// Whether a run that was out of memory is worth another with less: the engine writes
    /// [`crate::stage::manifest::OUT_OF_MEMORY`] into the state then.
    fn shrinks(&self, _params: &Params) -> bool {
        false
    }

    /// Does the work: reads the inputs named in the manifest, writes every output named there.
    fn run(&self, context: &Context) -> Result<(), StageError>;
}

/// Whether a run with a larger value of one parameter can go on from where one with a smaller
/// value ended, and then gives the bytes that it would have given from the start. The engine
/// keeps the [`Manifest::state`] of a run that can be gone on from, and hands it to the longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// There is no such parameter.
    None,
    /// It can, by this parameter, a whole number.
    By(&'static str),
    /// There is such a parameter, but as the others are it cannot: why, and what to change.
    Not { parameter: &'static str, why: &'static str },
}

/// An input of a built-in stage.
#[derive(Clone, Copy, Debug)]
pub struct InputSpec {
    pub name: &'static str,
    /// A pipeline that does not wire it is refused.
    pub required: bool,
    /// May be an encoder: a folder, or `hub:owner/name@revision`.
    pub kind: Kind,
    /// Takes any number of such: the manifest's path is that of a folder, whose entries are
    /// named after the variants or stages that they come from.
    pub many: bool,
    pub doc: &'static str,
}

impl InputSpec {
    /// One that has to be wired.
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> InputSpec {
        InputSpec { name, required: true, kind, many: false, doc }
    }

    /// One that may be left out.
    pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> InputSpec {
        InputSpec { name, required: false, kind, many: false, doc }
    }

    /// Any number of such, or none.
    pub const fn many(name: &'static str, kind: Kind, doc: &'static str) -> InputSpec {
        InputSpec { name, required: false, kind, many: true, doc }
    }
}

/// An output of a built-in stage.
#[derive(Clone, Copy, Debug)]
pub struct OutputSpec {
    pub name: &'static str,
    /// The file or folder name by which people know it, for instance `metrics.jsonl`.
    pub file: &'static str,
    pub kind: Kind,
    /// Exists only if this input is wired.
    pub given: Option<&'static str>,
    pub doc: &'static str,
}

impl OutputSpec {
    pub const fn new(
        name: &'static str,
        file: &'static str,
        kind: Kind,
        doc: &'static str,
    ) -> OutputSpec {
        OutputSpec { name, file, kind, given: None, doc }
    }

    /// The same, where it exists only if this input is wired.
    pub const fn given(self, input: &'static str) -> OutputSpec {
        OutputSpec { given: Some(input), ..self }
    }
}

/// Whether an artifact is one file or a folder of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    File,
    Folder,
}

/// A combination of parameters or inputs that a stage refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CheckError {
    /// The parameter or input to point at, if it is one.
    pub name: Option<&'static str>,
    pub message: String,
}

/// What a running stage has: its manifest, and a way to say how it goes.
pub struct Context<'a> {
    pub manifest: &'a Manifest,
    pub events: &'a Events,
}

impl Context<'_> {
    /// Does the work of a stage on a pool of as many threads as the manifest says: also where the
    /// process has a pool already, as a test's has.
    pub fn in_pool(
        &self,
        work: impl FnOnce() -> Result<(), StageError> + Send,
    ) -> Result<(), StageError> {
        let threads = self.manifest.threads;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|error| StageError::Unavailable {
            what: format!("a pool of {threads} threads"),
            problem: error.to_string(),
        })?;
        pool.install(work)
    }

    /// The checked parameters, defaults filled in.
    pub fn params(&self) -> &Params {
        &self.manifest.params
    }

    /// Where a wired input lies; an error names the stage's missing input.
    pub fn input(&self, name: &'static str) -> Result<&Path, StageError> {
        self.optional_input(name).ok_or(StageError::NoSuchInput { name })
    }

    /// Where an input lies if the pipeline wires it.
    pub fn optional_input(&self, name: &str) -> Option<&Path> {
        self.manifest.inputs.get(name).map(PathBuf::as_path)
    }

    /// Where to write an output; an error names the output that the manifest lacks.
    pub fn output(&self, name: &'static str) -> Result<&Path, StageError> {
        self.manifest
            .outputs
            .get(name)
            .map(PathBuf::as_path)
            .ok_or(StageError::NoSuchOutput { name })
    }

    /// Sends one event to the engine.
    pub fn emit(&self, event: Event) {
        self.events.emit(&event);
    }
}

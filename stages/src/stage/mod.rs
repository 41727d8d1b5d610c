//! What a built-in stage is: its name, version, inputs, parameters and outputs, and the function
//! that does the work. The engine knows stages only by this trait; the built-ins implement it.

pub(crate) mod choice;
pub mod error;
pub mod event;
pub mod manifest;
pub mod metric_lines;
pub mod output;
pub mod panics;
pub mod params;
pub mod progress;
pub mod user_folders;

use std::path::{Path, PathBuf};

use crate::stage::error::StageError;
use crate::stage::event::{Event, Events};
use crate::stage::manifest::Manifest;
use crate::stage::params::{ParamSpec, Params};

/// A built-in stage.
pub trait Stage: Sync {
    /// The description by which the engine checks and plans a pipeline.
    fn spec(&self) -> &'static StageSpec;

    fn name(&self) -> &'static str {
        self.spec().name
    }

    fn version(&self) -> u32 {
        self.spec().version
    }

    fn summary(&self) -> &'static str {
        self.spec().summary
    }

    fn inputs(&self) -> &'static [InputSpec] {
        self.spec().inputs
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        self.spec().outputs
    }

    fn params(&self) -> &'static [ParamSpec] {
        self.spec().params
    }

    fn headline(&self) -> &'static [&'static str] {
        self.spec().headline
    }

    /// Checks combinations of parameters and inputs. `wired` holds the names of the inputs that
    /// the pipeline wires.
    fn check(&self, _params: &Params, _wired: &[&str]) -> Result<(), CheckError> {
        Ok(())
    }

    /// Whether a longer run can continue from the state that a run with these parameters leaves.
    fn continuation(&self, _params: &Params) -> Continuation {
        Continuation::None
    }

    /// Whether a run that ran out of memory can be retried with less memory. If so, the engine
    /// writes [`crate::stage::manifest::OUT_OF_MEMORY`] into the state before it retries.
    fn shrinks(&self, _params: &Params) -> bool {
        false
    }

    /// Does the work: reads the manifest's inputs and writes all of its outputs. Call it through
    /// [`crate::builtin::run`], which provides the thread pool.
    fn run(&self, context: &Context) -> Result<(), StageError>;
}

/// The description of a built-in stage.
#[derive(Debug)]
pub struct StageSpec {
    /// The name in `uses:`, for instance `finetune`.
    pub name: &'static str,
    /// A part of the key. Raise it when the same inputs and parameters may give different bytes.
    pub version: u32,
    /// One line for `pipe stages` and the documentation.
    pub summary: &'static str,
    /// The inputs that a pipeline may wire, in the order of the documentation.
    pub inputs: &'static [InputSpec],
    /// The outputs. One with [`OutputSpec::given`] exists only if that input is wired.
    pub outputs: &'static [OutputSpec],
    /// The table of parameters: types, ranges, defaults and documentation.
    pub params: &'static [ParamSpec],
    /// The metrics to show first, in this order.
    pub headline: &'static [&'static str],
}

/// Whether a run with a larger value of one parameter can continue where a run with a smaller
/// value ended, with the same bytes as a run from the start. The engine keeps the
/// [`Manifest::state`] of a run that can be continued, and hands it to the longer run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// The stage has no such parameter.
    None,
    /// A run with a larger value of this parameter, a whole number, continues.
    By(&'static str),
    /// The stage has such a parameter, but the other parameters prevent it. `why` gives the reason
    /// and what to change.
    Not { parameter: &'static str, why: &'static str },
}

/// How many artifacts an input takes. The manifest's path of several is a folder, whose entries are
/// named after the variants, stages or files that they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    One,
    /// A single one is no set: its path is that of the artifact.
    OneOrSeveral,
    /// Always a folder, also of a single one.
    Set,
}

/// An input of a built-in stage.
#[derive(Clone, Copy, Debug)]
pub struct InputSpec {
    pub name: &'static str,
    /// Whether every pipeline must wire it.
    pub required: bool,
    /// A [`Kind::Folder`] may also be an encoder, `hub:owner/name@revision`.
    pub kind: Kind,
    pub count: Count,
    pub doc: &'static str,
}

impl InputSpec {
    /// An input that must be wired.
    pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> InputSpec {
        InputSpec { name, required: true, kind, count: Count::One, doc }
    }

    /// An input that may be left out.
    pub const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> InputSpec {
        InputSpec { name, required: false, kind, count: Count::One, doc }
    }

    /// The same input, but it takes several artifacts too.
    pub const fn or_several(self) -> InputSpec {
        InputSpec { count: Count::OneOrSeveral, ..self }
    }

    /// An input of any number of artifacts, or none.
    pub const fn many(name: &'static str, kind: Kind, doc: &'static str) -> InputSpec {
        InputSpec { name, required: false, kind, count: Count::Set, doc }
    }
}

/// An output of a built-in stage.
#[derive(Clone, Copy, Debug)]
pub struct OutputSpec {
    pub name: &'static str,
    /// The name under which the file or folder is published, for instance `metrics.jsonl`.
    pub file: &'static str,
    pub kind: Kind,
    /// The output exists only if this input is wired.
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

    /// The same output, but it exists only if this input is wired.
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
    /// The parameter or input that the message is about, if there is one.
    pub name: Option<&'static str>,
    pub message: String,
}

/// What a running stage has: its manifest, and the sink of its events.
pub struct Context<'a> {
    pub manifest: &'a Manifest,
    pub events: &'a Events,
}

impl Context<'_> {
    /// The checked parameters, with defaults filled in.
    pub fn params(&self) -> &Params {
        &self.manifest.params
    }

    /// The path of an input; an error if the pipeline does not wire it.
    pub fn input(&self, name: &'static str) -> Result<&Path, StageError> {
        self.optional_input(name).ok_or(StageError::NoSuchInput { name })
    }

    /// The path of an input, if the pipeline wires it.
    pub fn optional_input(&self, name: &str) -> Option<&Path> {
        self.manifest.inputs.get(name).map(PathBuf::as_path)
    }

    /// The path to write an output to; an error if the manifest lacks it.
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

//! The data of a checked pipeline, which the rest of the engine works with: no YAML, no variables.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use stages::Kind;

use super::remote_settings::Declared;
use super::request::{ExecutorName, Request};
use crate::text::variants;

/// The resource whose units are GPUs, numbered from 0 as CUDA does.
pub const GPU: &str = "gpu";

/// A checked pipeline.
#[derive(Default, Clone, Debug)]
pub struct Pipeline {
    /// The YAML file, absolute.
    pub file: PathBuf,
    /// The project folder, absolute: the folder of the YAML file. Relative paths start here.
    pub root: PathBuf,
    /// In the order of the file.
    pub stages: Vec<Stage>,
    /// How many units of each resource there are, as declared under `resources:`.
    pub resources: BTreeMap<String, u32>,
    /// The remotes that the file declares.
    pub remotes: BTreeMap<String, Declared>,
    /// The executor of stages that name none.
    pub executor: Option<ExecutorName>,
    /// The names of all profiles in the file, whether applied or not.
    pub profiles: Vec<String>,
}

/// A position in [`Pipeline::stages`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageIndex(pub usize);

impl Index<StageIndex> for Pipeline {
    type Output = Stage;

    /// # Panics
    ///
    /// If the index comes from a longer pipeline.
    fn index(&self, index: StageIndex) -> &Stage {
        &self.stages[index.0]
    }
}

/// One stage, with variables, defaults and overrides applied.
#[derive(Clone, Debug)]
pub struct Stage {
    pub name: String,
    /// The line of its declaration in the YAML file, from 1.
    pub line: usize,
    pub action: Action,
    /// By name. An entry of a set is named `set/entry`, see [`input_and_entry`].
    pub inputs: BTreeMap<String, Input>,
    /// For a built-in: all parameters, in canonical form. For a command: as written.
    pub params: BTreeMap<String, Value>,
    pub outputs: Vec<Output>,
    /// From the name of an output to a path relative to the root.
    pub publish: BTreeMap<String, PathBuf>,
    /// The environment variables that a command declares under `env:`.
    pub env: Vec<String>,
    pub salt: Option<String>,
    /// How it runs. Nothing in here enters the key.
    pub handling: Handling,
}

/// What a stage runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Builtin {
        name: String,
        version: u32,
    },
    /// Run by `sh -c` in the project folder.
    Command {
        text: String,
    },
}

impl Action {
    /// The name of the built-in; `None` for a command.
    pub fn builtin(&self) -> Option<&str> {
        match self {
            Action::Builtin { name, .. } => Some(name),
            Action::Command { .. } => None,
        }
    }
}

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The absolute path of a file or folder.
    Path(PathBuf),
    /// A file, downloaded once. Its content is pinned by a hexadecimal BLAKE3 digest, or else by a
    /// Git commit in the path of the URL.
    Url { url: String, blake3: Option<String> },
    /// A model on the Hugging Face hub.
    Hub { repository: String, revision: String },
    /// A file of a data set on the Hugging Face hub.
    HubData { repository: String, revision: String, path: String },
    /// An artifact of another stage.
    Artifact { stage: String, output: String },
}

/// An output of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub name: String,
    /// The file or folder name inside the stage's output folder.
    pub file: String,
    /// `None` for a command, which may write either.
    pub kind: Option<Kind>,
}

/// Overrides of the file: first the profile, then each `--set` in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// A key (`variable`, `stage.parameter`, `stage.inputs.name`) and its value as typed.
    pub set: Vec<(String, String)>,
    /// The name of a profile of the file.
    pub profile: Option<String>,
}

/// Formats an input as YAML spells it, except that a URL has no digest.
impl fmt::Display for Input {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Input::Path(path) => write!(out, "{}", path.display()),
            Input::Url { url, .. } => out.write_str(url),
            Input::Hub { repository, revision } => write!(out, "hub:{repository}@{revision}"),
            Input::HubData { repository, revision, path } => {
                write!(out, "hub:datasets/{repository}@{revision}/{path}")
            }
            Input::Artifact { stage, output } => write!(out, "{stage}:{output}"),
        }
    }
}

impl Pipeline {
    /// The positions of all stages.
    pub fn indices(&self) -> impl Iterator<Item = StageIndex> + use<> {
        (0..self.stages.len()).map(StageIndex)
    }

    /// The stage named `name`.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}

impl Stage {
    /// The output named `name`.
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }

    /// The name without the label that marks a variant.
    pub fn family(&self) -> &str {
        variants::family(&self.name)
    }
}

/// How a stage runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// The stage never runs; its newest record counts as its result.
    pub frozen: bool,
    /// The stage runs every time, whatever its key.
    pub always: bool,
    /// How often a failed process is started again.
    pub retries: u32,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How many units of each resource (`gpu`) the stage holds while it runs.
    pub resources: BTreeMap<String, u32>,
    /// The executor of the stage; `None` leaves the choice to the pipeline or the command line.
    pub executor: Option<ExecutorName>,
    /// What the stage asks of a scheduler, if one runs it.
    pub request: Request,
}

impl Handling {
    /// Whether a scheduler runs the stage. Meaningful once the executor has been chosen.
    pub fn is_elsewhere(&self) -> bool {
        self.executor.is_some_and(|executor| executor != ExecutorName::Local)
    }
}

/// Separates the name of a set from the name of its entry.
pub const SET_MARK: char = '/';

/// Splits a key of [`Stage::inputs`] into the name of the input and, for a set, that of the entry.
pub fn input_and_entry(key: &str) -> (&str, Option<&str>) {
    match key.split_once(SET_MARK) {
        Some((input, entry)) => (input, Some(entry)),
        None => (key, None),
    }
}

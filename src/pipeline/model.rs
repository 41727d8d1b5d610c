//! The data of a checked pipeline: what the rest of the engine works with. It holds no YAML and no
//! variables.

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

/// The resource whose units are the GPUs that CUDA counts from 0.
pub const GPU: &str = "gpu";

/// A checked pipeline.
#[derive(Default, Clone, Debug)]
pub struct Pipeline {
    /// The YAML file.
    pub file: PathBuf,
    /// The project: the folder of the YAML file, absolute. Relative paths start here.
    pub root: PathBuf,
    /// In the order of the file.
    pub stages: Vec<Stage>,
    /// How many there are of each counted thing, where the file says so.
    pub resources: BTreeMap<String, u32>,
    /// Other places that hold results, as the file declares them.
    pub remotes: BTreeMap<String, Declared>,
    /// Where stages run that do not say so themselves.
    pub executor: Option<ExecutorName>,
    /// The names of the file's profiles, applied or not.
    pub profiles: Vec<String>,
}

/// The position of a stage in [`Pipeline::stages`], which is the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageIndex(pub usize);

impl Index<StageIndex> for Pipeline {
    type Output = Stage;

    /// Panics if the index is that of another, longer pipeline.
    fn index(&self, index: StageIndex) -> &Stage {
        &self.stages[index.0]
    }
}

/// One stage with everything filled in.
#[derive(Clone, Debug)]
pub struct Stage {
    pub name: String,
    /// Where the YAML file declares it, counted from 1.
    pub line: usize,
    pub action: Action,
    /// An entry of a set is called `set/entry`, see [`input_and_entry`].
    pub inputs: BTreeMap<String, Input>,
    /// For a built-in complete and canonical, for a command as given.
    pub params: BTreeMap<String, Value>,
    pub outputs: Vec<Output>,
    /// Output name to a path relative to the root.
    pub publish: BTreeMap<String, PathBuf>,
    /// Names of environment variables that a command declares.
    pub env: Vec<String>,
    pub salt: Option<String>,
    /// How it is run; nothing of it enters the key.
    pub handling: Handling,
}

/// What a stage runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Builtin {
        name: String,
        version: u32,
    },
    /// Given to `sh -c`, in the project's folder.
    Command {
        text: String,
    },
}

impl Action {
    /// The name of the built-in, if it is one.
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
    /// A file or folder; absolute (relative ones are joined to the root when resolved).
    Path(PathBuf),
    /// Downloaded once. Verified against its BLAKE3 digest (hexadecimal); a URL without one names
    /// a Git commit in its path, which pins its content as well.
    Url { url: String, blake3: Option<String> },
    /// A model of the Hugging Face hub.
    Hub { repository: String, revision: String },
    /// An artifact of another stage.
    Artifact { stage: String, output: String },
}

/// An output that a stage makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub name: String,
    /// The file or folder name inside the stage's output folder.
    pub file: String,
    /// `None` for a command: whatever it wrote.
    pub kind: Option<Kind>,
}

/// What is laid over the file: first the profile, then each `--set` in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// A key (`variable`, `stage.parameter`, `stage.inputs.name`) and its value as typed.
    pub set: Vec<(String, String)>,
    /// The name of a profile of the file.
    pub profile: Option<String>,
}

/// As an input is written in YAML; a URL without its digest.
impl fmt::Display for Input {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Input::Path(path) => write!(out, "{}", path.display()),
            Input::Url { url, .. } => out.write_str(url),
            Input::Hub { repository, revision } => write!(out, "hub:{repository}@{revision}"),
            Input::Artifact { stage, output } => write!(out, "{stage}:{output}"),
        }
    }
}

impl Pipeline {
    /// The positions of all stages, in the order of the file.
    pub fn indices(&self) -> impl Iterator<Item = StageIndex> + use<> {
        (0..self.stages.len()).map(StageIndex)
    }

    /// The stage of that name.
    pub fn stage(&self, name: &str) -> Option<&Stage> {
        self.stages.iter().find(|stage| stage.name == name)
    }
}

impl Stage {
    /// The output of that name.
    pub fn output(&self, name: &str) -> Option<&Output> {
        self.outputs.iter().find(|output| output.name == name)
    }

    /// The name without the label of a variant.
    pub fn family(&self) -> &str {
        variants::family(&self.name)
    }
}

/// How a stage is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handling {
    /// It never runs; its newest record counts as its result.
    pub frozen: bool,
    /// It runs each time, whatever its key says.
    pub always: bool,
    /// How often a failed process is started anew.
    pub retries: u32,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How many of each counted thing (`gpu`) it holds while it runs.
    pub resources: BTreeMap<String, u32>,
    /// Who starts its process; `None`: as the pipeline or the command line say.
    pub executor: Option<ExecutorName>,
    /// What it asks of a scheduler, if it goes to one.
    pub request: Request,
}

impl Handling {
    /// Whether a scheduler runs it, once that is settled.
    pub fn is_elsewhere(&self) -> bool {
        self.executor.is_some_and(|executor| executor != ExecutorName::Local)
    }
}

/// Between the name of a set and that of its entry.
pub(super) const SET_MARK: char = '/';

/// The input that a key of [`Stage::inputs`](Stage::inputs) belongs to, and which entry of
/// a set it is.
pub fn input_and_entry(key: &str) -> (&str, Option<&str>) {
    match key.split_once(SET_MARK) {
        Some((input, entry)) => (input, Some(entry)),
        None => (key, None),
    }
}

//! The pipeline as the user means it: read, interpolated, overridden, checked. What the engine
//! goes on with holds no YAML and no variable any more.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;
use stages::Kind;

/// A checked pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The YAML file.
    pub file: PathBuf,
    /// The project: the folder of the YAML file. Relative paths start here.
    pub root: PathBuf,
    /// In the order of the file.
    pub stages: Vec<Stage>,
}

/// One stage with everything filled in.
#[derive(Clone, Debug)]
pub struct Stage {
    pub name: String,
    /// Where the YAML file declares it, counted from 1.
    pub line: usize,
    pub action: Action,
    pub inputs: BTreeMap<String, Input>,
    /// For a built-in complete and canonical, for a command as given.
    pub params: BTreeMap<String, Value>,
    pub outputs: Vec<Output>,
    /// Output name to a path relative to the root.
    pub publish: BTreeMap<String, PathBuf>,
    /// Names of environment variables that a command declares.
    pub env: Vec<String>,
    pub salt: Option<String>,
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

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file or folder; absolute (relative ones are joined to the root when resolved).
    Path(PathBuf),
    /// Downloaded once and verified against its BLAKE3 digest (hexadecimal).
    Url { url: String, blake3: String },
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

//! Why a stage failed. Every variant says what was being done and to which file, line or tensor.

use std::io;
use std::path::{Path, PathBuf};

/// The failure of a built-in stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("reading {}: {source}", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    /// A line of a data file that is not what it should be.
    #[error("{}, line {line}: {problem}", path.display())]
    Line { path: PathBuf, line: u64, problem: String },
    /// A file that, as a whole, is not what it should be.
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("parameter `{name}`: {problem}")]
    Param { name: &'static str, problem: String },
    #[error("the manifest wires no input `{name}`")]
    NoSuchInput { name: &'static str },
    #[error("the manifest names no output `{name}`")]
    NoSuchOutput { name: &'static str },
    #[error("there is no built-in stage `{name}`")]
    NoSuchStage { name: String },
    #[error("the manifest wants version {wanted} of `{name}`, this binary has {found}")]
    OtherVersion { name: String, wanted: u32, found: u32 },
    /// Not in this build, or not on this machine: the device, the feature, the driver.
    #[error("{what} is not available: {problem}")]
    Unavailable { what: String, problem: String },
    #[error("training diverged at step {step}: the loss is {loss}")]
    Diverged { step: u64, loss: f64 },
}

impl StageError {
    /// For `map_err`: names the operation (a participle: `reading`) and the path.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StageError {
        let path = path.to_owned();
        move |source| StageError::Io { doing, path, source }
    }

    /// What to do about it, where there is something general to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            StageError::OtherVersion { .. } => {
                Some("run the stage with the binary that planned it".to_owned())
            }
            StageError::Diverged { .. } => {
                Some("lower `learning_rate`, or add `warmup`".to_owned())
            }
            _ => None,
        }
    }
}

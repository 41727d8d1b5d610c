//! The manifest, `stage.json`: everything that a stage's process is told. The engine writes it
//! and the stage's process reads it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::stage::error::StageError;
use crate::stage::params::Params;

/// The name of a file in [`Manifest::state`]. The engine appends a line to it each time this stage
/// runs out of memory.
pub const OUT_OF_MEMORY: &str = "out_of_memory";

/// The work of one stage process. All paths are absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The stage's name in the pipeline, used only in messages.
    pub stage: String,
    /// The name of the built-in to run.
    pub uses: String,
    /// The version of the built-in that is in the key.
    pub version: u32,
    pub params: Params,
    pub inputs: BTreeMap<String, PathBuf>,
    pub outputs: BTreeMap<String, PathBuf>,
    /// A folder for checkpoints, kept between attempts at the same key. It is never an artifact.
    pub state: PathBuf,
    /// `auto`, `cpu`, `cuda`, `cuda:N`, `vulkan` or `vulkan:N`.
    pub device: String,
    /// The number of threads the stage may use; 0 for one per core.
    pub threads: usize,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// The file can't be read, or is not a manifest.
    pub fn read(path: &Path) -> Result<Manifest, StageError> {
        let text = std::fs::read_to_string(path).map_err(StageError::io("reading", path))?;
        serde_json::from_str(&text)
            .map_err(|source| StageError::Json { path: path.to_owned(), source })
    }
}

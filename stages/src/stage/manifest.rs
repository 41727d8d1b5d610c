//! `stage.json`: all that a stage's process is told. The engine writes it, a built-in stage
//! reads it, and another host could.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::stage::error::StageError;
use crate::stage::params::Params;

/// A file in [`Manifest::state`] that the engine writes: a line for every time that this stage
/// ran out of memory.
pub const OUT_OF_MEMORY: &str = "out_of_memory";

/// What one stage process has to do. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The stage's name in the pipeline, for messages only.
    pub stage: String,
    /// The built-in to run.
    pub uses: String,
    /// The built-in's version that the key was computed with.
    pub version: u32,
    pub params: Params,
    pub inputs: BTreeMap<String, PathBuf>,
    pub outputs: BTreeMap<String, PathBuf>,
    /// Kept from one try of the same key to the next, for checkpoints; never an artifact.
    pub state: PathBuf,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// How many threads the stage may use; 0 for all cores.
    pub threads: usize,
}

impl Manifest {
    /// Reads a manifest; an error names the file and what is wrong with it.
    pub fn read(path: &Path) -> Result<Manifest, StageError> {
        let text = std::fs::read_to_string(path).map_err(StageError::io("reading", path))?;
        serde_json::from_str(&text)
            .map_err(|source| StageError::Json { path: path.to_owned(), source })
    }
}

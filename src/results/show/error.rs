//! Why an artifact cannot be shown.

use std::io;
use std::path::{Path, PathBuf};

/// A longer line is not read into memory.
pub(super) const MAX_LINE: u64 = 4 << 20;

/// Why an artifact cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is neither a file nor a folder", path.display())]
    NotAFile { path: PathBuf },
    #[error("{}, line {line}: {source}", path.display())]
    Line { path: PathBuf, line: u64, source: serde_json::Error },
    /// A row so long that it could exhaust memory.
    #[error("{}, line {line}: longer than {} bytes", path.display(), MAX_LINE)]
    LongLine { path: PathBuf, line: u64 },
    #[error("{} is not a valid safetensors file: {problem}", path.display())]
    Safetensors { path: PathBuf, problem: String },
    /// The reader of the output went away, for instance `head`.
    #[error("writing the output: {0}")]
    Output(io::Error),
}

impl ShowError {
    /// For `map_err`: names the operation (a participle: `reading`) and the path.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ShowError {
        let path = path.to_owned();
        move |source| ShowError::Io { doing, path, source }
    }
}

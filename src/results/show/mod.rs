//! A readable view of an artifact, whatever it is: what kind of data it holds is told by its
//! content, never by its name. Reading is bounded: of a file of any size only the beginning is
//! kept in memory, and nothing that it holds reaches a terminal unescaped.

mod chart;
mod file;
mod folder;
mod outline;
mod print;
mod table;
mod tensors;
mod tokens;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

pub use folder::{FileSize, Folder, Model};
pub use tensors::{Tensor, Tensors};
pub use tokens::show_tokens;

/// How much is shown, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShowOptions {
    /// Columns of the terminal.
    pub width: usize,
    /// At most so many rows, lines, tensors, files.
    pub rows: usize,
    /// One JSON object on one line instead.
    pub json: bool,
}

impl Default for ShowOptions {
    fn default() -> ShowOptions {
        ShowOptions { width: 80, rows: 10, json: false }
    }
}

/// What an artifact holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum View {
    Empty,
    /// JSON, one value a line.
    Jsonl {
        bytes: u64,
        /// Lines that are not blank.
        rows: u64,
        first: Vec<Value>,
    },
    Json {
        bytes: u64,
        value: Value,
    },
    Safetensors(Tensors),
    Text {
        bytes: u64,
        lines: u64,
        first: Vec<String>,
        /// Why it is shown as text although it looks like something else.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    Binary {
        bytes: u64,
        /// The first bytes in hexadecimal.
        first: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    Folder(Folder),
}

/// Why an artifact cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is neither a file nor a folder", path.display())]
    NotAFile { path: PathBuf },
    #[error("{}, line {line}: {source}", path.display())]
    Line { path: PathBuf, line: u64, source: serde_json::Error },
    /// A row so long that showing it would fill the memory.
    #[error("{}, line {line}: longer than {} bytes", path.display(), file::MAX_LINE)]
    LongLine { path: PathBuf, line: u64 },
    #[error("{} is broken safetensors: {problem}", path.display())]
    Safetensors { path: PathBuf, problem: String },
    /// The reader of the output went away, for instance `head`.
    #[error("writing the output: {0}")]
    Output(io::Error),
}

/// Writes a view of the file or folder at `path`.
///
/// # Errors
///
/// See [`ShowError`]. Nothing has been written then, but for [`ShowError::Output`].
pub fn show(path: &Path, options: &ShowOptions, out: &mut dyn Write) -> Result<(), ShowError> {
    let view = view(path, options.rows)?;
    let text = match options.json {
        true => {
            let mut json = serde_json::to_string(&view).map_err(io::Error::from);
            if let Ok(json) = &mut json {
                json.push('\n');
            }
            json.map_err(ShowError::Output)?
        }
        false => print::print(path, &view, options),
    };
    out.write_all(text.as_bytes()).map_err(ShowError::Output)
}

/// What is at `path`, with at most `rows` of each kind of row.
pub fn view(path: &Path, rows: usize) -> Result<View, ShowError> {
    let metadata = std::fs::metadata(path).map_err(ShowError::io("reading", path))?;
    if metadata.is_dir() {
        return folder::read(path, rows).map(View::Folder);
    }
    // Opening a named pipe would wait for its other end.
    if !metadata.is_file() {
        return Err(ShowError::NotAFile { path: path.to_owned() });
    }
    file::read(path, metadata.len(), rows)
}

impl ShowError {
    /// For `map_err`: names the operation (a participle: `reading`) and the path.
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ShowError {
        let path = path.to_owned();
        move |source| ShowError::Io { doing, path, source }
    }
}

//! What `pipe show` shows of an artifact, and how much of it.

use serde::Serialize;
use serde_json::Value;

use super::folder::Folder;
use super::tensors::Tensors;

/// How much to show, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShowOptions {
    /// The width of the terminal in columns.
    pub width: usize,
    /// The number of rows, lines, tensors or files to show at most.
    pub rows: usize,
    /// Print one JSON object on one line instead of text.
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
    /// JSON, one value per line.
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
        /// Why the file is shown as text although it looks like another format.
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

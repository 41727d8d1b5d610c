//! Examples as `ingest` and `split` write them, JSON objects a line, read in batches of bounded
//! size.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::stage::error::StageError;

const BATCH_LINES: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;

/// One example. Other fields of the object are not looked at.
#[derive(Debug, Deserialize)]
pub struct Row<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(default)]
    pub label: Option<String>,
    #[serde(borrow)]
    pub text: Cow<'a, str>,
    /// Earlier turns of the conversation, oldest first.
    #[serde(default)]
    pub context: Vec<String>,
}

/// The label alone, for the pass that collects them.
#[derive(Debug, Deserialize)]
pub struct Label {
    #[serde(default)]
    pub label: Option<String>,
}

/// A file of examples.
pub struct Rows {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
    bytes_read: u64,
}

/// Some lines of a file, blank ones left out.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Each line's number, counted from 1, and its bytes.
    lines: Vec<(u64, Range<usize>)>,
}

impl Rows {
    pub fn open(path: &Path) -> Result<Rows, StageError> {
        let file = File::open(path).map_err(StageError::io("opening", path))?;
        let reader = BufReader::with_capacity(1 << 20, file);
        Ok(Rows { path: path.to_owned(), reader, line: 0, bytes_read: 0 })
    }

    /// Replaces the batch by the next lines; `false` at the end of the file.
    pub fn next_batch(&mut self, batch: &mut Batch) -> Result<bool, StageError> {
        batch.bytes.clear();
        batch.lines.clear();
        while batch.lines.len() < BATCH_LINES && batch.bytes.len() < BATCH_BYTES {
            let start = batch.bytes.len();
            let length = self
                .reader
                .read_until(b'\n', &mut batch.bytes)
                .map_err(StageError::io("reading", &self.path))?;
            if length == 0 {
                break;
            }
            self.line += 1;
            self.bytes_read += length as u64;
            if !batch.bytes[start..].trim_ascii().is_empty() {
                batch.lines.push((self.line, start..batch.bytes.len()));
            }
        }
        Ok(!batch.lines.is_empty())
    }

    /// How far into the file it is.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }
}

impl Batch {
    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Number and contents of a line.
    pub fn line(&self, index: usize) -> (u64, &[u8]) {
        let (number, bytes) = &self.lines[index];
        (*number, &self.bytes[bytes.clone()])
    }
}

/// Reads one line as a [`Row`] or a [`Label`].
pub fn parse<'a, T: Deserialize<'a>>(
    path: &Path,
    (line, bytes): (u64, &'a [u8]),
) -> Result<T, StageError> {
    serde_json::from_slice(bytes).map_err(|error| StageError::Line {
        path: path.to_owned(),
        line,
        problem: format!("expected an object with the texts `id` and `text`: {error}"),
    })
}

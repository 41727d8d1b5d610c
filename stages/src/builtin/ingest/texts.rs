//! Reads texts to classify outside a run of the pipeline, for `pipe classify`.

use std::path::Path;

use super::params::IngestParams;
use super::reader::{DataFormat, InputReader};
use crate::data::example::Example;
use crate::data::lines::LineReader;
use crate::stage::error::StageError;

pub use super::checks::cleaned;

/// Reads a plain file with one text a line and calls `each` with `chunk` examples at a time.
/// Blank lines are skipped.
///
/// # Errors
/// A line that is too long; any error of `each`.
pub fn read_plain(
    path: &Path,
    chunk: usize,
    each: impl FnMut(Vec<Example>) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let mut chunks = Chunks::new(chunk, each);
    let mut lines = LineReader::open(path)?;
    while lines.advance_to_text()? {
        let text = String::from_utf8_lossy(lines.line());
        chunks.push(Example::of_text(text.trim_end()))?;
    }
    chunks.finish()
}

/// Reads a file as `ingest` does and calls `each` with `chunk` examples at a time. The examples
/// keep the ids of the file and are not yet [`cleaned`].
///
/// # Errors
/// A malformed row, with its line; any error of `each`.
pub fn read_fields(
    path: &Path,
    params: &IngestParams,
    chunk: usize,
    each: impl FnMut(Vec<Example>) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let mut chunks = Chunks::new(chunk, each);
    let format = DataFormat::of_file(path, params)?;
    let mut reader = InputReader::open(path, format, params, false)?;
    while let Some(row) = reader.next_row(params)? {
        let (path, line) = (path.to_owned(), row.line);
        let problem = |problem| StageError::Line { path, line, problem };
        chunks.push(row.example.map_err(problem)?)?;
    }
    chunks.finish()
}

/// Collects examples and passes them on, `size` at a time.
struct Chunks<F> {
    size: usize,
    examples: Vec<Example>,
    each: F,
}

impl<F: FnMut(Vec<Example>) -> Result<(), StageError>> Chunks<F> {
    fn new(size: usize, each: F) -> Chunks<F> {
        Chunks { size, examples: Vec::with_capacity(size), each }
    }

    fn push(&mut self, example: Example) -> Result<(), StageError> {
        self.examples.push(example);
        if self.examples.len() < self.size {
            return Ok(());
        }
        (self.each)(std::mem::take(&mut self.examples))
    }

    fn finish(mut self) -> Result<(), StageError> {
        if self.examples.is_empty() { Ok(()) } else { (self.each)(self.examples) }
    }
}

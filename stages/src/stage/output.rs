//! Writing an output file, buffered. Every error names the file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::stage::error::StageError;

/// An output file that is being written. Call [`OutputFile::finish`] at the end, or the last lines
/// may stay in the buffer.
pub struct OutputFile {
    writer: BufWriter<File>,
    path: PathBuf,
}

impl OutputFile {
    pub fn create(path: &Path) -> Result<OutputFile, StageError> {
        let file = File::create(path).map_err(StageError::io("creating", path))?;
        Ok(OutputFile { writer: BufWriter::with_capacity(1 << 16, file), path: path.to_owned() })
    }

    /// Writes a line and a line end.
    pub fn write_line(&mut self, line: &[u8]) -> Result<(), StageError> {
        self.writer
            .write_all(line)
            .and_then(|()| self.writer.write_all(b"\n"))
            .map_err(StageError::io("writing", &self.path))
    }

    /// Writes a value as one line of JSON.
    pub fn write_json_line(&mut self, value: &impl Serialize) -> Result<(), StageError> {
        serde_json::to_writer(&mut self.writer, value)
            .map_err(std::io::Error::from)
            .and_then(|()| self.writer.write_all(b"\n"))
            .map_err(StageError::io("writing", &self.path))
    }

    /// An error about the content of this file.
    pub fn error(&self, problem: String) -> StageError {
        StageError::File { path: self.path.clone(), problem }
    }

    /// Writes out the buffer.
    pub fn finish(mut self) -> Result<(), StageError> {
        self.writer.flush().map_err(StageError::io("writing", &self.path))
    }
}

/// Writes a value as an indented JSON file.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StageError> {
    let mut output = OutputFile::create(path)?;
    serde_json::to_writer_pretty(&mut output.writer, value)
        .map_err(std::io::Error::from)
        .and_then(|()| output.writer.write_all(b"\n"))
        .map_err(StageError::io("writing", path))?;
    output.finish()
}

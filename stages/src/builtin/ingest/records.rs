//! Reads the records of a file of any format, one after the other.

use super::delimited::DelimitedReader;
use super::jsonl::{self, FieldValue};
use super::layout::{DataFormat, Layout};
use crate::data::data_file::DataFile;
use crate::data::lines::{LineReader, is_blank, too_long_problem};
use crate::stage::error::StageError;

/// An open file of records.
pub enum RecordReader {
    Jsonl(LineReader),
    Delimited(Box<DelimitedReader>),
}

impl RecordReader {
    /// # Errors
    /// The header of a CSV or TSV file cannot be read.
    pub fn open(file: DataFile, layout: Layout) -> Result<RecordReader, StageError> {
        match layout.format {
            DataFormat::Jsonl => Ok(RecordReader::Jsonl(LineReader::of(file))),
            DataFormat::Csv | DataFormat::Tsv => {
                let reader = DelimitedReader::open(file, layout)?;
                Ok(RecordReader::Delimited(Box::new(reader)))
            }
        }
    }

    /// Advances to the next record, which may have a problem, in words; `None` at the end of the
    /// file. Blank lines are skipped.
    pub fn advance(&mut self) -> Result<Option<Result<(), String>>, StageError> {
        let lines = match self {
            RecordReader::Delimited(reader) => return reader.advance(),
            RecordReader::Jsonl(lines) => lines,
        };
        while lines.advance()? {
            if lines.is_too_long() {
                return Ok(Some(Err(too_long_problem())));
            }
            if !is_blank(lines.line()) {
                return Ok(Some(Ok(())));
            }
        }
        Ok(None)
    }

    /// The line on which the record begins, counted from 1.
    pub fn number(&self) -> u64 {
        match self {
            RecordReader::Jsonl(lines) => lines.number(),
            RecordReader::Delimited(reader) => reader.number(),
        }
    }

    /// The record as it is in the file, or the beginning of it if it is too long.
    pub fn raw(&self) -> &[u8] {
        match self {
            RecordReader::Jsonl(lines) => lines.line(),
            RecordReader::Delimited(reader) => reader.raw(),
        }
    }

    /// All fields of the current record.
    ///
    /// # Errors
    /// The problem in words.
    pub fn fields(&self) -> Result<Vec<(String, FieldValue)>, String> {
        let reader = match self {
            RecordReader::Jsonl(lines) => return jsonl::fields(lines.line()),
            RecordReader::Delimited(reader) => reader,
        };
        let names = reader.names().iter().enumerate();
        let fields = names.map(|(index, name)| match reader.cell(index) {
            cell if cell.is_empty() => (name.clone(), FieldValue::Empty),
            cell => (name.clone(), FieldValue::Text(cell)),
        });
        Ok(fields.collect())
    }

    /// The bytes read so far, and the size of the file when it was opened; 0 if it has none.
    pub fn bytes(&self) -> (u64, u64) {
        match self {
            RecordReader::Jsonl(lines) => lines.bytes(),
            RecordReader::Delimited(reader) => reader.bytes(),
        }
    }

    /// An error about the current record.
    pub fn error(&self, problem: String) -> StageError {
        match self {
            RecordReader::Jsonl(lines) => lines.error(problem),
            RecordReader::Delimited(reader) => reader.error(problem),
        }
    }
}

//! Reads the records of a file of any format, one after the other.

#[cfg(feature = "columns")]
use super::columnar::ColumnarReader;
use super::delimited::DelimitedReader;
use super::jsonl::{self, FieldValue};
use super::layout::{DataFormat, Layout};
use super::params::IngestParams;
use crate::data::data_file::DataFile;
use crate::data::json_items::JsonItems;
use crate::data::lines::{LineReader, is_blank, too_long_problem};
use crate::stage::error::StageError;

/// An open file of records.
pub enum RecordReader {
    Jsonl(LineReader),
    Json(JsonItems),
    #[cfg(feature = "columns")]
    Columns(Box<ColumnarReader>),
    Delimited(Box<DelimitedReader>),
}

impl RecordReader {
    /// Opens a file for the fields that the parameters name, with the label or not, or for all
    /// fields.
    ///
    /// # Errors
    /// The header of a CSV or TSV file cannot be read; a file of columns lacks a required field.
    pub fn open(
        file: DataFile,
        layout: Layout,
        wanted: Option<(&IngestParams, bool)>,
    ) -> Result<RecordReader, StageError> {
        match layout.format {
            DataFormat::Jsonl => Ok(RecordReader::Jsonl(LineReader::of(file))),
            DataFormat::Json => Ok(RecordReader::Json(JsonItems::of(file))),
            DataFormat::Csv | DataFormat::Tsv => {
                let reader = DelimitedReader::open(file, layout)?;
                Ok(RecordReader::Delimited(Box::new(reader)))
            }
            DataFormat::Parquet | DataFormat::Arrow => open_columns(file, layout.format, wanted),
        }
    }

    /// Advances to the next record, which may have a problem, in words; `None` at the end of the
    /// file. Blank lines are skipped.
    pub fn advance(&mut self) -> Result<Option<Result<(), String>>, StageError> {
        let lines = match self {
            RecordReader::Delimited(reader) => return reader.advance(),
            RecordReader::Json(items) => {
                let is_there = items.advance()?;
                let checked = if items.is_too_long() { Err(too_long_problem()) } else { Ok(()) };
                return Ok(is_there.then_some(checked));
            }
            #[cfg(feature = "columns")]
            RecordReader::Columns(reader) => return reader.advance(),
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

    /// The line on which the record begins, or the number of a record without lines, counted from 1.
    pub fn number(&self) -> u64 {
        match self {
            RecordReader::Jsonl(lines) => lines.number(),
            RecordReader::Json(items) => items.number(),
            #[cfg(feature = "columns")]
            RecordReader::Columns(reader) => reader.number(),
            RecordReader::Delimited(reader) => reader.number(),
        }
    }

    /// The record as it is in the file, or the beginning of it if it is too long.
    pub fn raw(&self) -> &[u8] {
        match self {
            RecordReader::Jsonl(lines) => lines.line(),
            RecordReader::Json(items) => items.item(),
            #[cfg(feature = "columns")]
            RecordReader::Columns(reader) => reader.row(),
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
            RecordReader::Json(items) => return jsonl::fields(items.item()),
            #[cfg(feature = "columns")]
            RecordReader::Columns(reader) => return jsonl::fields(reader.row()),
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
            RecordReader::Json(items) => items.bytes(),
            #[cfg(feature = "columns")]
            RecordReader::Columns(reader) => reader.bytes(),
            RecordReader::Delimited(reader) => reader.bytes(),
        }
    }

    /// An error about the current record.
    pub fn error(&self, problem: String) -> StageError {
        match self {
            RecordReader::Jsonl(lines) => lines.error(problem),
            RecordReader::Json(items) => items.error(problem),
            #[cfg(feature = "columns")]
            RecordReader::Columns(reader) => reader.error(problem),
            RecordReader::Delimited(reader) => reader.error(problem),
        }
    }
}

#[cfg(feature = "columns")]
fn open_columns(
    file: DataFile,
    format: DataFormat,
    wanted: Option<(&IngestParams, bool)>,
) -> Result<RecordReader, StageError> {
    let reader = ColumnarReader::open(file, format, wanted)?;
    Ok(RecordReader::Columns(Box::new(reader)))
}

#[cfg(not(feature = "columns"))]
fn open_columns(
    file: DataFile,
    format: DataFormat,
    _: Option<(&IngestParams, bool)>,
) -> Result<RecordReader, StageError> {
    Err(StageError::Unavailable {
        what: format!("reading `{}` as {}", file.name().display(), format.name()),
        problem: "this binary was built without the feature `columns`".to_owned(),
    })
}

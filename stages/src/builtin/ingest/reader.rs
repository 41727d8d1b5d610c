//! Reads an input of any format row by row.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::delimited::{DelimitedReader, Delimiter};
use super::jsonl;
use super::params::{FormatChoice, IngestParams};
use crate::data::example::Example;
use crate::data::lines::{BYTE_ORDER_MARK, LineReader, is_blank, too_long_problem};
use crate::stage::error::StageError;

/// How many bytes at the start of a file are searched for its format.
const SAMPLE: u64 = 1 << 16;

/// The format of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFormat {
    Jsonl,
    Csv,
    Tsv,
}

impl DataFormat {
    pub fn name(self) -> &'static str {
        match self {
            DataFormat::Jsonl => "jsonl",
            DataFormat::Csv => "csv",
            DataFormat::Tsv => "tsv",
        }
    }

    /// The format that the parameters name, or the one that the content of the file shows. The
    /// name of the file does not count: two files with the same bytes are the same input.
    ///
    /// # Errors
    /// The file cannot be read, or holds one JSON list.
    pub fn of_file(path: &Path, params: &IngestParams) -> Result<DataFormat, StageError> {
        match params.format {
            FormatChoice::Jsonl => Ok(DataFormat::Jsonl),
            FormatChoice::Csv => Ok(DataFormat::Csv),
            FormatChoice::Tsv => Ok(DataFormat::Tsv),
            FormatChoice::Auto => DataFormat::detect(path, &params.text_field),
        }
    }

    fn detect(path: &Path, text_field: &str) -> Result<DataFormat, StageError> {
        let file = File::open(path).map_err(StageError::io("opening", path))?;
        let mut sample = Vec::new();
        file.take(SAMPLE).read_to_end(&mut sample).map_err(StageError::io("reading", path))?;
        let start = sample.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&sample).trim_ascii_start();
        if start.starts_with(b"[") {
            let problem = "expected one JSON object a line, found one JSON list; \
                           `jq -c '.[]'` writes its items as lines"
                .to_owned();
            return Err(StageError::File { path: path.to_owned(), problem });
        }
        if start.starts_with(b"{") || start.is_empty() {
            return Ok(DataFormat::Jsonl);
        }
        let header = start.split(|&byte| byte == b'\n' || byte == b'\r').next().unwrap_or(start);
        let tabbed = header.split(|&byte| byte == b'\t').any(|name| name == text_field.as_bytes());
        let is_tsv = tabbed && header.contains(&b'\t');
        Ok(if is_tsv { DataFormat::Tsv } else { DataFormat::Csv })
    }
}

/// A row of an input, well-formed or not.
pub struct InputRow<'a> {
    /// The line on which it begins, counted from 1.
    pub line: u64,
    /// The row as it is in the file, or the beginning of it if it is too long.
    pub raw: &'a [u8],
    /// The example, or the problem in words. Its id is empty if the row has none.
    pub example: Result<Example, String>,
}

/// An open input.
pub enum InputReader {
    Jsonl(LineReader),
    Delimited(Box<DelimitedReader>),
}

impl InputReader {
    /// # Errors
    /// The file cannot be opened; the header of a CSV or TSV file lacks a required field.
    pub fn open(
        path: &Path,
        format: DataFormat,
        params: &IngestParams,
        label_required: bool,
    ) -> Result<InputReader, StageError> {
        let delimited = |delimiter| {
            DelimitedReader::open(path, delimiter, params, label_required)
                .map(|reader| InputReader::Delimited(Box::new(reader)))
        };
        match format {
            DataFormat::Jsonl => LineReader::open(path).map(InputReader::Jsonl),
            DataFormat::Csv => delimited(Delimiter::Comma),
            DataFormat::Tsv => delimited(Delimiter::Tab),
        }
    }

    /// The next row, `None` at the end of the file. Blank lines are skipped.
    pub fn next_row(&mut self, params: &IngestParams) -> Result<Option<InputRow<'_>>, StageError> {
        let (line, raw, example) = match self {
            InputReader::Jsonl(lines) => {
                loop {
                    if !lines.advance()? {
                        return Ok(None);
                    }
                    if !is_blank(lines.line()) {
                        break;
                    }
                }
                let example = match lines.is_too_long() {
                    true => Err(too_long_problem()),
                    false => jsonl::parse(lines.line(), params),
                };
                (lines.number(), lines.line(), example)
            }
            InputReader::Delimited(reader) => {
                let Some(example) = reader.next_row(params)? else { return Ok(None) };
                (reader.number(), reader.raw(), example)
            }
        };
        let example = example.map(|example| Example { line, ..example });
        Ok(Some(InputRow { line, raw, example }))
    }

    /// The bytes read so far, and the size of the file when it was opened.
    pub fn bytes(&self) -> (u64, u64) {
        match self {
            InputReader::Jsonl(lines) => lines.bytes(),
            InputReader::Delimited(reader) => reader.bytes(),
        }
    }
}

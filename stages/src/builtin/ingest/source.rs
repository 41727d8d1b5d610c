//! An input of any format as rows with their lines.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::delimited::{DelimitedReader, Delimiter};
use super::jsonl;
use super::row::{Fields, Row};
use crate::data::lines::{BYTE_ORDER_MARK, LineReader, is_blank, too_long_problem};
use crate::stage::error::StageError;

/// How much of a file shows its format, in bytes.
const SAMPLE: u64 = 1 << 16;

/// What a file's lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jsonl,
    Csv,
    Tsv,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
        }
    }

    /// The format of that name, or for `auto` what the file's content looks like. Its name does
    /// not count: two files of the same bytes are the same input.
    pub fn of(name: &str, path: &Path, fields: &Fields) -> Result<Format, StageError> {
        match name {
            "jsonl" => Ok(Format::Jsonl),
            "csv" => Ok(Format::Csv),
            "tsv" => Ok(Format::Tsv),
            _ => Format::detect(path, fields),
        }
    }

    fn detect(path: &Path, fields: &Fields) -> Result<Format, StageError> {
        let file = File::open(path).map_err(StageError::io("opening", path))?;
        let mut sample = Vec::new();
        file.take(SAMPLE).read_to_end(&mut sample).map_err(StageError::io("reading", path))?;
        let start = sample.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&sample).trim_ascii_start();
        if start.starts_with(b"[") {
            let problem = "expected a JSON object a line, found one JSON list; \
                           `jq -c '.[]'` makes lines of it"
                .to_owned();
            return Err(StageError::File { path: path.to_owned(), problem });
        }
        if start.starts_with(b"{") || start.is_empty() {
            return Ok(Format::Jsonl);
        }
        let header = start.split(|&byte| byte == b'\n' || byte == b'\r').next().unwrap_or(start);
        let tabbed = header.split(|&byte| byte == b'\t').any(|name| name == fields.text.as_bytes());
        Ok(if tabbed && header.contains(&b'\t') { Format::Tsv } else { Format::Csv })
    }
}

/// A row of an input, good or bad.
pub struct Record<'a> {
    /// Where it begins, counted from 1.
    pub line: u64,
    /// As it stands in the file; the beginning of it if it is too long.
    pub raw: &'a [u8],
    pub row: Result<Row, String>,
}

/// An open input.
pub enum Source {
    Jsonl(LineReader),
    Delimited(Box<DelimitedReader>),
}

impl Source {
    pub fn open(
        path: &Path,
        format: Format,
        fields: &Fields,
        label_required: bool,
    ) -> Result<Source, StageError> {
        let delimited = |delimiter| {
            DelimitedReader::open(path, delimiter, fields, label_required)
                .map(|reader| Source::Delimited(Box::new(reader)))
        };
        match format {
            Format::Jsonl => LineReader::open(path).map(Source::Jsonl),
            Format::Csv => delimited(Delimiter::Comma),
            Format::Tsv => delimited(Delimiter::Tab),
        }
    }

    /// The next row; blank lines are passed over. `None` at the end.
    pub fn next_record(&mut self, fields: &Fields) -> Result<Option<Record<'_>>, StageError> {
        match self {
            Source::Jsonl(lines) => {
                while lines.advance()? {
                    if is_blank(lines.line()) {
                        continue;
                    }
                    let row = match lines.is_too_long() {
                        true => Err(too_long_problem()),
                        false => jsonl::parse(lines.line(), fields),
                    };
                    return Ok(Some(Record { line: lines.number(), raw: lines.line(), row }));
                }
                Ok(None)
            }
            Source::Delimited(records) => Ok(records.next_row(fields)?.map(|row| Record {
                line: records.number(),
                raw: records.raw(),
                row,
            })),
        }
    }

    /// How many bytes are read, and how many the file had when it was opened.
    pub fn bytes(&self) -> (u64, u64) {
        match self {
            Source::Jsonl(lines) => lines.bytes(),
            Source::Delimited(records) => records.bytes(),
        }
    }
}

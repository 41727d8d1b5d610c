//! Reads CSV and TSV files with a header, record by record in bounded memory.
//!
//! CSV follows RFC 4180: a cell in quotation marks may hold commas, line ends and doubled
//! quotation marks. TSV has no quoting (IANA `text/tab-separated-values`), so a tweet that begins
//! with a quotation mark is not mistaken for a quoted cell.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::params::IngestParams;
use crate::data::example::Example;
use crate::data::lines::{BEGINNING, BYTE_ORDER_MARK, LINE_LIMIT, too_long_problem, utf8_problem};
use crate::data::nearest::list_names;
use crate::stage::error::StageError;

/// What separates cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    Comma,
    Tab,
}

/// A file of records whose header has been read.
pub struct DelimitedReader {
    reader: BufReader<File>,
    path: PathBuf,
    /// `csv` or `tsv`, for error messages.
    format: &'static str,
    parser: Reader,
    /// The unquoted cells of the record, one after the other, and the end of each.
    cells: Vec<u8>,
    ends: Vec<usize>,
    /// The record as it is in the file, and the line on which it begins.
    raw: Vec<u8>,
    number: u64,
    columns: Columns,
    read_bytes: u64,
    total_bytes: u64,
}

/// Which columns hold the fields, counted from 0.
#[derive(Default)]
struct Columns {
    count: usize,
    id: Option<usize>,
    label: Option<usize>,
    text: usize,
    context: Option<usize>,
}

/// The result of parsing one record.
enum ParsedRecord {
    /// The file has no more records.
    End,
    /// A record with this number of cells.
    Cells(usize),
    TooLong,
    /// The file ended within quotation marks.
    OpenQuote,
}

impl DelimitedReader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// The header lacks the text field or the required label field, or has a field twice.
    pub fn open(
        path: &Path,
        delimiter: Delimiter,
        params: &IngestParams,
        label_required: bool,
    ) -> Result<DelimitedReader, StageError> {
        let file = File::open(path).map_err(StageError::io("opening", path))?;
        let total_bytes = file.metadata().map_err(StageError::io("reading", path))?.len();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let start = reader.fill_buf().map_err(StageError::io("reading", path))?;
        if start.starts_with(BYTE_ORDER_MARK) {
            reader.consume(BYTE_ORDER_MARK.len());
        }
        let (format, parser) = match delimiter {
            Delimiter::Comma => ("csv", ReaderBuilder::new().build()),
            Delimiter::Tab => ("tsv", ReaderBuilder::new().delimiter(b'\t').quoting(false).build()),
        };
        let mut records = DelimitedReader {
            reader,
            path: path.to_owned(),
            format,
            parser,
            cells: vec![0; 1 << 12],
            ends: vec![0; 64],
            raw: Vec::new(),
            number: 0,
            columns: Columns::default(),
            read_bytes: 0,
            total_bytes,
        };
        records.columns = records.header(params, label_required)?;
        Ok(records)
    }

    fn header(
        &mut self,
        params: &IngestParams,
        label_required: bool,
    ) -> Result<Columns, StageError> {
        let count = match self.next_record()? {
            ParsedRecord::Cells(count) => count,
            ParsedRecord::TooLong => return Err(self.error(too_long_problem())),
            ParsedRecord::OpenQuote => return Err(self.error(open_quote_problem())),
            ParsedRecord::End => {
                let problem = "expected a header, found an empty file".to_owned();
                return Err(StageError::File { path: self.path.clone(), problem });
            }
        };
        if let Some(problem) = utf8_problem(&self.raw) {
            return Err(self.error(problem));
        }
        let names: Vec<String> = (0..count).map(|index| self.cell(index)).collect();
        let find = |name: &str| names.iter().position(|found| found == name);
        let IngestParams { id_field, label_field, text_field, context_field, .. } = params;
        for name in [id_field, label_field, text_field, context_field] {
            if names.iter().filter(|found| *found == name).count() > 1 {
                return Err(self.error(format!("the header has the field `{name}` twice")));
            }
        }
        let label = find(label_field);
        let missing = match find(text_field) {
            None => Some(text_field),
            Some(_) if label.is_none() && label_required => Some(label_field),
            Some(_) => None,
        };
        if let Some(name) = missing {
            let found = list_names(name, names.iter().map(String::as_str));
            let problem = format!(
                "read as {}, the header has no field `{name}`; there are {found}",
                self.format
            );
            return Err(self.error(problem));
        }
        let text = find(text_field).unwrap_or_default();
        Ok(Columns { count, id: find(id_field), label, text, context: find(context_field) })
    }

    /// Advances to the next record: its example, or the problem in words; `None` at the end of
    /// the file. An absent id is empty.
    pub fn next_row(
        &mut self,
        params: &IngestParams,
    ) -> Result<Option<Result<Example, String>>, StageError> {
        let count = match self.next_record()? {
            ParsedRecord::End => return Ok(None),
            ParsedRecord::Cells(count) => count,
            ParsedRecord::OpenQuote => return Ok(Some(Err(open_quote_problem()))),
            ParsedRecord::TooLong => {
                let problem = format!("{}: is a quotation mark left open?", too_long_problem());
                return Ok(Some(Err(problem)));
            }
        };
        if let Some(problem) = utf8_problem(&self.raw) {
            return Ok(Some(Err(problem)));
        }
        if count != self.columns.count {
            let expected = self.columns.count;
            let problem = format!("expected {expected} cells as in the header, found {count}");
            return Ok(Some(Err(problem)));
        }
        let columns = &self.columns;
        Ok(Some(Ok(Example {
            id: columns.id.map(|index| self.cell(index)).unwrap_or_default(),
            label: columns.label.map(|index| self.cell(index)),
            text: self.cell(columns.text),
            context: match columns.context {
                Some(index) => params.turns(&self.cell(index)),
                None => Vec::new(),
            },
            line: 0,
        })))
    }

    /// The record as it is in the file, without its line end; its beginning if it is too long.
    pub fn raw(&self) -> &[u8] {
        self.raw.trim_ascii_end()
    }

    /// The line on which the record begins, counted from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The bytes read so far, and the size of the file when it was opened.
    pub fn bytes(&self) -> (u64, u64) {
        (self.read_bytes, self.total_bytes)
    }

    fn error(&self, problem: String) -> StageError {
        StageError::Line { path: self.path.clone(), line: self.number, problem }
    }

    /// The text of a cell. The callers have checked that the record is UTF-8.
    fn cell(&self, index: usize) -> String {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        String::from_utf8_lossy(&self.cells[start..self.ends[index]]).into_owned()
    }

    fn next_record(&mut self) -> Result<ParsedRecord, StageError> {
        self.raw.clear();
        let line_before = self.parser.line();
        let (mut length, mut count, mut too_long) = (0, 0, false);
        let result = loop {
            let input = self.reader.fill_buf().map_err(StageError::io("reading", &self.path))?;
            let at_end = input.is_empty();
            // At the end of the file the parser gets one more line end. It completes the last
            // record, unless a quotation mark was left open.
            let (result, read, written, ended) = self.parser.read_record(
                if at_end { b"\n" } else { input },
                &mut self.cells[length..],
                &mut self.ends[count..],
            );
            if !at_end {
                too_long |= self.raw.len() + read > LINE_LIMIT;
                match too_long {
                    true => self.raw.truncate(BEGINNING),
                    false => self.raw.extend_from_slice(&input[..read]),
                }
                self.reader.consume(read);
                self.read_bytes += read as u64;
            }
            // The cells of a record that is too long are not needed: they overwrite each other.
            (length, count) = if too_long { (0, 0) } else { (length + written, count + ended) };
            match result {
                ReadRecordResult::Record => break ParsedRecord::Cells(count),
                ReadRecordResult::OutputFull => self.cells.resize(2 * length + (1 << 12), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * count + 64, 0),
                _ if at_end && self.raw.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => {
                    break ParsedRecord::End;
                }
                _ if at_end => break ParsedRecord::OpenQuote,
                _ => {}
            }
        };
        // The parser counts blank lines before a record, and the `\n` of a `\r\n` before it, as
        // part of the record.
        let blank = self.raw.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let lines = self.raw[..blank].iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.number = line_before + lines;
        self.raw.drain(..blank);
        Ok(if too_long { ParsedRecord::TooLong } else { result })
    }
}

fn open_quote_problem() -> String {
    "a quotation mark is opened here and never closed".to_owned()
}

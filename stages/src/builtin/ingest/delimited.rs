//! CSV and TSV with a header, record by record in bounded memory.
//!
//! CSV is RFC 4180: a cell in quotation marks may hold commas, line ends and doubled quotation
//! marks. TSV has no quotation marks (IANA `text/tab-separated-values`): a tweet that begins
//! with one is not mistaken for a quoted cell.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::row::{Fields, Row};
use crate::data::lines::{BEGINNING, BYTE_ORDER_MARK, LINE_LIMIT, too_long_problem, utf8_problem};
use crate::data::nearest::list_names;
use crate::stage::error::StageError;

/// Which delimited format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delimiter {
    Comma,
    Tab,
}

/// A file of records, after its header.
pub struct DelimitedReader {
    reader: BufReader<File>,
    path: PathBuf,
    /// `csv` or `tsv`, for messages.
    format: &'static str,
    parser: Reader,
    /// The cells of a record without quotation marks, end to end; and where each one ends.
    cells: Vec<u8>,
    ends: Vec<usize>,
    /// The record as it stands in the file, and the line it begins on.
    raw: Vec<u8>,
    number: u64,
    columns: Columns,
    read_bytes: u64,
    total_bytes: u64,
}

/// Which cell of a record holds what.
#[derive(Default)]
struct Columns {
    count: usize,
    id: Option<usize>,
    label: Option<usize>,
    text: usize,
    context: Option<usize>,
}

/// What became of a record.
enum Record {
    End,
    /// So many cells.
    Cells(usize),
    TooLong,
    /// The file ended within quotation marks.
    Open,
}

impl DelimitedReader {
    /// Opens a file and reads its header; an error if that lacks the text's field, or a label's
    /// that is required.
    pub fn open(
        path: &Path,
        delimiter: Delimiter,
        fields: &Fields,
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
        records.columns = records.header(fields, label_required)?;
        Ok(records)
    }

    fn header(&mut self, fields: &Fields, label_required: bool) -> Result<Columns, StageError> {
        let count = match self.next_record()? {
            Record::Cells(count) => count,
            Record::TooLong => return Err(self.error(too_long_problem())),
            Record::Open => return Err(self.error(open_problem())),
            Record::End => {
                let problem = "expected a header, found an empty file".to_owned();
                return Err(StageError::File { path: self.path.clone(), problem });
            }
        };
        if let Some(problem) = utf8_problem(&self.raw) {
            return Err(self.error(problem));
        }
        let names: Vec<String> = (0..count).map(|index| self.cell(index)).collect();
        let find = |name: &str| names.iter().position(|found| found == name);
        for name in [&fields.id, &fields.label, &fields.text, &fields.context] {
            if names.iter().filter(|found| *found == name).count() > 1 {
                return Err(self.error(format!("the header has the field `{name}` twice")));
            }
        }
        let label = find(&fields.label);
        let missing = match find(&fields.text) {
            None => Some(&fields.text),
            Some(_) if label.is_none() && label_required => Some(&fields.label),
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
        let text = find(&fields.text).unwrap_or_default();
        Ok(Columns { count, id: find(&fields.id), label, text, context: find(&fields.context) })
    }

    /// Goes to the next record: a row, or what is wrong with it; `None` at the end.
    pub fn next_row(&mut self, fields: &Fields) -> Result<Option<Result<Row, String>>, StageError> {
        let count = match self.next_record()? {
            Record::End => return Ok(None),
            Record::Cells(count) => count,
            Record::Open => return Ok(Some(Err(open_problem()))),
            Record::TooLong => {
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
        Ok(Some(Ok(Row {
            id: columns.id.map(|index| self.cell(index)),
            label: columns.label.map(|index| self.cell(index)),
            text: self.cell(columns.text),
            context: match columns.context {
                Some(index) => fields.turns(&self.cell(index)),
                None => Vec::new(),
            },
        })))
    }

    /// The record as it stands in the file, without its end; its beginning if it is too long.
    pub fn raw(&self) -> &[u8] {
        self.raw.trim_ascii_end()
    }

    /// The line that the record begins on, counted from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many bytes are read, and how many the file had when it was opened.
    pub fn bytes(&self) -> (u64, u64) {
        (self.read_bytes, self.total_bytes)
    }

    fn error(&self, problem: String) -> StageError {
        StageError::Line { path: self.path.clone(), line: self.number, problem }
    }

    /// Valid UTF-8, as the whole record was checked before.
    fn cell(&self, index: usize) -> String {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        String::from_utf8_lossy(&self.cells[start..self.ends[index]]).into_owned()
    }

    fn next_record(&mut self) -> Result<Record, StageError> {
        self.raw.clear();
        let line_before = self.parser.line();
        let (mut length, mut count, mut too_long) = (0, 0, false);
        let result = loop {
            let input = self.reader.fill_buf().map_err(StageError::io("reading", &self.path))?;
            let at_end = input.is_empty();
            // A line end added at the end of the file ends the last record, or it is inside
            // quotation marks that were left open.
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
            // The cells of a record that is too long overwrite each other.
            (length, count) = if too_long { (0, 0) } else { (length + written, count + ended) };
            match result {
                ReadRecordResult::Record => break Record::Cells(count),
                ReadRecordResult::OutputFull => self.cells.resize(2 * length + (1 << 12), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * count + 64, 0),
                _ if at_end && self.raw.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => {
                    break Record::End;
                }
                _ if at_end => break Record::Open,
                _ => {}
            }
        };
        // Blank lines before a record, and the `\n` of the `\r\n` before it, come with it.
        let blank = self.raw.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let lines = self.raw[..blank].iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.number = line_before + lines;
        self.raw.drain(..blank);
        Ok(if too_long { Record::TooLong } else { result })
    }
}

fn open_problem() -> String {
    "a quotation mark is opened here and never closed".to_owned()
}

//! Reads CSV and TSV files record by record in bounded memory.
//!
//! CSV follows RFC 4180: a cell in quotation marks may hold delimiters, line ends and doubled
//! quotation marks. TSV has no quoting (IANA `text/tab-separated-values`), so a tweet that begins
//! with a quotation mark is not mistaken for a quoted cell.

use std::path::Path;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::layout::{DataFormat, Layout};
use crate::data::data_file::DataFile;
use crate::data::lines::{BEGINNING, LINE_LIMIT, is_blank, too_long_problem, utf8_problem};
use crate::stage::error::StageError;

/// A file of records whose header has been read.
pub struct DelimitedReader {
    file: DataFile,
    layout: Layout,
    parser: Reader,
    /// The unquoted cells of the record, one after the other, and the end of each.
    cells: Vec<u8>,
    ends: Vec<usize>,
    /// How many cells the record has.
    count: usize,
    /// The record as it is in the file, and the line on which it begins.
    raw: Vec<u8>,
    number: u64,
    /// The names of the columns.
    names: Vec<String>,
    /// Whether the first record was read for the number of its cells and is still to be given.
    pending: bool,
}

/// The result of parsing one record.
enum ParsedRecord {
    /// The file has no more records.
    End,
    /// A record, whose cells and their number are stored.
    Record,
    TooLong,
    /// The file ended within quotation marks.
    OpenQuote,
}

impl DelimitedReader {
    /// Reads the header, or counts the columns of the first record if there is none.
    ///
    /// # Errors
    /// The file is empty, or its first record cannot be read.
    pub fn open(file: DataFile, layout: Layout) -> Result<DelimitedReader, StageError> {
        let quoting = layout.format != DataFormat::Tsv;
        let mut records = DelimitedReader {
            file,
            layout,
            parser: ReaderBuilder::new().delimiter(layout.delimiter).quoting(quoting).build(),
            cells: vec![0; 1 << 12],
            ends: vec![0; 64],
            count: 0,
            raw: Vec::new(),
            number: 0,
            names: Vec::new(),
            pending: false,
        };
        match records.next_record()? {
            ParsedRecord::Record => {}
            ParsedRecord::TooLong => return Err(records.error(too_long_problem())),
            ParsedRecord::OpenQuote => return Err(records.error(open_quote_problem())),
            ParsedRecord::End => {
                let expected = if layout.header { "a header" } else { "rows" };
                let problem = format!("expected {expected}, found an empty file");
                return Err(StageError::File { path: records.path().to_owned(), problem });
            }
        }
        if let Some(problem) = utf8_problem(&records.raw) {
            return Err(records.error(problem));
        }
        let name = |index| match layout.header {
            true => records.cell(index),
            false => (index + 1).to_string(),
        };
        records.names = (0..records.count).map(name).collect();
        records.pending = !layout.header;
        Ok(records)
    }

    /// Advances to the next record, which may have a problem, in words; `None` at the end of the
    /// file.
    pub fn advance(&mut self) -> Result<Option<Result<(), String>>, StageError> {
        if std::mem::take(&mut self.pending) {
            return Ok(Some(Ok(())));
        }
        let mut parsed = self.next_record()?;
        // A line of white space is blank, as in JSONL, unless it may be the only cell.
        while matches!(parsed, ParsedRecord::Record)
            && self.count == 1
            && self.names.len() > 1
            && is_blank(&self.raw)
        {
            parsed = self.next_record()?;
        }
        match parsed {
            ParsedRecord::End => return Ok(None),
            ParsedRecord::Record => {}
            ParsedRecord::OpenQuote => return Ok(Some(Err(open_quote_problem()))),
            ParsedRecord::TooLong => {
                let problem = format!("{}: is a quotation mark left open?", too_long_problem());
                return Ok(Some(Err(problem)));
            }
        };
        if let Some(problem) = utf8_problem(&self.raw) {
            return Ok(Some(Err(problem)));
        }
        let (found, expected) = (self.count, self.names.len());
        // Some programs write a delimiter after the last cell of each row.
        let is_ended = found == expected + 1 && expected > 1 && self.is_empty(expected);
        if found != expected && !is_ended {
            let like = if self.layout.header { "the header" } else { "the first row" };
            return Ok(Some(Err(format!("expected {expected} cells as in {like}, found {found}"))));
        }
        Ok(Some(Ok(())))
    }

    /// The names of the columns: as in the header, or `1`, `2` and so on.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The path of the file, or what it is called.
    pub fn path(&self) -> &Path {
        self.file.name()
    }

    /// The text of a cell of the current record, which [`DelimitedReader::advance`] has checked.
    pub fn cell(&self, index: usize) -> String {
        String::from_utf8_lossy(&self.cells[self.start(index)..self.ends[index]]).into_owned()
    }

    fn is_empty(&self, index: usize) -> bool {
        self.start(index) == self.ends[index]
    }

    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] }
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
        self.file.bytes()
    }

    /// An error about the current record.
    pub fn error(&self, problem: String) -> StageError {
        StageError::Line { path: self.path().to_owned(), line: self.number, problem }
    }

    fn next_record(&mut self) -> Result<ParsedRecord, StageError> {
        self.raw.clear();
        let line_before = self.parser.line();
        let (mut length, mut count, mut too_long) = (0, 0, false);
        let result = loop {
            let input = self.file.fill()?;
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
                self.file.consume(read);
            }
            // The cells of a record that is too long are not needed: they overwrite each other.
            (length, count) = if too_long { (0, 0) } else { (length + written, count + ended) };
            match result {
                ReadRecordResult::Record => break ParsedRecord::Record,
                ReadRecordResult::OutputFull => self.cells.resize(2 * length + (1 << 12), 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(2 * count + 64, 0),
                _ if at_end && self.raw.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => {
                    break ParsedRecord::End;
                }
                _ if at_end => break ParsedRecord::OpenQuote,
                _ => {}
            }
        };
        self.count = count;
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

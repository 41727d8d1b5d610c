//! The layout of a data file: its format, what separates its cells, and whether it has a header.
//! The parameters give it, or the content of the file shows it.

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::params::{FormatChoice, IngestParams};
use crate::data::data_file::DataFile;
use crate::stage::error::StageError;

/// The format of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFormat {
    Jsonl,
    /// Cells in quotation marks may hold the delimiter, line ends and doubled quotation marks.
    Csv,
    /// Quotation marks are text.
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
}

/// How a data file is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub format: DataFormat,
    /// What separates cells. JSONL has none.
    pub delimiter: u8,
    /// Whether the first record names the columns. Without it, columns are called by their number,
    /// counted from 1.
    pub header: bool,
}

/// The delimiters that are recognised. Among equals, an earlier one is preferred.
const DELIMITERS: [u8; 4] = *b"\t,;|";

impl Layout {
    pub const JSONL: Layout = Layout { format: DataFormat::Jsonl, delimiter: b',', header: true };

    /// A file of cells. Those that tabs separate are not quoted.
    pub fn delimited(delimiter: u8, header: bool) -> Layout {
        let format = if delimiter == b'\t' { DataFormat::Tsv } else { DataFormat::Csv };
        Layout { format, delimiter, header }
    }

    /// The delimiter if it is another one than the format usually has.
    pub fn unusual_delimiter(&self) -> Option<u8> {
        let usual = if self.format == DataFormat::Tsv { b'\t' } else { b',' };
        (self.delimiter != usual).then_some(self.delimiter)
    }

    /// The layout that the parameters give, or the one that the content of the file shows. The name
    /// of the file does not count: two files with the same bytes are the same input.
    ///
    /// # Errors
    /// The file cannot be read, is no text, or holds one JSON list.
    pub fn of_file(file: &mut DataFile, params: &IngestParams) -> Result<Layout, StageError> {
        file.refuse_foreign()?;
        let format = match (params.format, params.delimiter) {
            (FormatChoice::Jsonl, _) => return Ok(Layout::JSONL),
            (FormatChoice::Csv, _) => DataFormat::Csv,
            (FormatChoice::Tsv, _) => DataFormat::Tsv,
            (FormatChoice::Auto, Some(delimiter)) => {
                return Ok(Layout::delimited(delimiter, params.header));
            }
            (FormatChoice::Auto, None) if is_jsonl(file)? => return Ok(Layout::JSONL),
            (FormatChoice::Auto, None) if params.header => {
                let delimiter = by_header(file.first_line()?, &params.text_field);
                return Ok(Layout::delimited(delimiter, true));
            }
            (FormatChoice::Auto, None) => {
                let found = delimiters(file)?;
                let layout = found.first().map_or(Layout::delimited(b',', false), |it| it.layout);
                return Ok(Layout { header: false, ..layout });
            }
        };
        let delimiter = match (params.delimiter, format) {
            (Some(delimiter), _) => delimiter,
            (None, DataFormat::Tsv) => b'\t',
            (None, _) => match params.header {
                true => by_quoted_header(file.first_line()?, &params.text_field).unwrap_or(b','),
                false => {
                    let found = delimiters(file)?;
                    let found = found.iter().find(|found| found.layout.format == format);
                    found.map_or(b',', |found| found.layout.delimiter)
                }
            },
        };
        Ok(Layout { format, delimiter, header: params.header })
    }
}

/// Whether a file that starts like this is JSONL. An empty one is.
///
/// # Errors
/// The file holds one JSON list.
pub fn is_jsonl(file: &mut DataFile) -> Result<bool, StageError> {
    let start = file.first_line()?.trim_ascii_start();
    if start.starts_with(b"[") {
        let problem = "expected one JSON object a line, found one JSON list; \
                       `jq -c '.[]'` writes its items as lines"
            .to_owned();
        return Err(StageError::File { path: file.name().to_owned(), problem });
    }
    Ok(start.starts_with(b"{") || start.is_empty())
}

/// The delimiter of a header with this field; a comma if the field is not found.
fn by_header(start: &[u8], text_field: &str) -> u8 {
    let header = first_line_of(start);
    let tabbed = header.split(|&byte| byte == b'\t').any(|name| name == text_field.as_bytes());
    match tabbed && header.contains(&b'\t') {
        true => b'\t',
        false => by_quoted_header(start, text_field).unwrap_or(b','),
    }
}

fn by_quoted_header(start: &[u8], text_field: &str) -> Option<u8> {
    let header = first_line_of(start);
    let has_field = |delimiter: &u8| {
        first_records(header, *delimiter, true, true).first().is_some_and(|names| {
            names.len() > 1 && names.iter().any(|name| name == text_field.as_bytes())
        })
    };
    // Tabs come last here: a header in quotation marks may be separated by them too.
    [b',', b';', b'|', b'\t'].into_iter().find(has_field)
}

fn first_line_of(start: &[u8]) -> &[u8] {
    let start = start.trim_ascii_start();
    start.split(|&byte| byte == b'\n' || byte == b'\r').next().unwrap_or(start)
}

/// How a delimiter divides the records at the start of a file.
#[derive(Clone, Debug)]
pub struct Division {
    pub layout: Layout,
    /// The cells of the records. The first record has two or more.
    pub records: Vec<Vec<String>>,
    /// The share of the records with as many cells as the first; half of it if the delimiter looks
    /// like punctuation.
    pub share: f64,
}

impl Division {
    /// The division by one delimiter; `None` if it leaves the first record whole.
    pub fn by(file: &mut DataFile, layout: Layout) -> Result<Option<Division>, StageError> {
        let sample = file.sample()?.to_vec();
        let quoting = layout.format != DataFormat::Tsv;
        let records = first_records(&sample, layout.delimiter, quoting, file.is_whole());
        let Some(cells) = records.first().map(Vec::len).filter(|cells| *cells > 1) else {
            return Ok(None);
        };
        let equal = records.iter().filter(|record| record.len() == cells).count();
        let share = equal as f64 / records.len() as f64;
        // Commas in a text are followed by a space, commas between cells seldom.
        let follows = |record: &Vec<Vec<u8>>| record[1..].iter().all(|it| it.starts_with(b" "));
        let is_text = records.iter().all(|record| record.len() > 1 && follows(record));
        let share = if is_text { share / 2.0 } else { share };
        let text = |cell: &Vec<u8>| String::from_utf8_lossy(cell).into_owned();
        let texts = |record: &Vec<Vec<u8>>| record.iter().map(text).collect();
        Ok(Some(Division { layout, records: records.iter().map(texts).collect(), share }))
    }

    /// The cells of the first record.
    pub fn first(&self) -> &[String] {
        &self.records[0]
    }
}

/// The ways to divide the first records of a file into cells, the most likely first.
pub fn delimiters(file: &mut DataFile) -> Result<Vec<Division>, StageError> {
    let mut found = Vec::new();
    for delimiter in DELIMITERS {
        let layout = Layout::delimited(delimiter, true);
        let Some(division) = Division::by(file, layout)? else { continue };
        if layout.format == DataFormat::Tsv && division.share < 1.0 {
            // Quotation marks may hold tabs and line ends. One that is text would seem to hold the
            // rest of the file, and leave few records.
            let quoted = Division::by(file, Layout { format: DataFormat::Csv, ..layout })?;
            let has_most = |it: &Division| 2 * it.records.len() > division.records.len();
            found.extend(quoted.filter(has_most));
        }
        found.push(division);
    }
    // The sort is stable: it keeps the order of `DELIMITERS` among equals.
    found.sort_by(|a, b| {
        b.share.total_cmp(&a.share).then_with(|| b.first().len().cmp(&a.first().len()))
    });
    Ok(found)
}

/// Whether cells that tabs separate are quoted as in CSV: each that begins with a quotation mark ends
/// with the next one that is not doubled, and some hold what only quotation marks can hold.
pub fn looks_quoted(sample: &[u8], layout: Layout) -> bool {
    if layout.format != DataFormat::Tsv {
        return false;
    }
    let is_end = |byte: Option<&u8>| matches!(byte, None | Some(b'\t' | b'\r' | b'\n'));
    let (mut at, mut needs_quotes) = (0, false);
    while at < sample.len() {
        if sample[at] == b'"' {
            at += 1;
            loop {
                match (sample.get(at), sample.get(at + 1)) {
                    // The sample ends within the cell.
                    (None, _) => return needs_quotes,
                    (Some(b'"'), Some(b'"')) => (at, needs_quotes) = (at + 2, true),
                    (Some(b'"'), next) if is_end(next) => break,
                    (Some(b'"'), _) => return false,
                    (byte, _) => (at, needs_quotes) = (at + 1, needs_quotes || is_end(byte)),
                }
            }
            at += 1;
        }
        // On to the next cell.
        at += 1 + sample[at..].iter().take_while(|byte| !is_end(Some(byte))).count();
    }
    needs_quotes
}

/// The cells of the records at the start of a file. `is_whole` says that the last one is complete.
fn first_records(bytes: &[u8], delimiter: u8, quoting: bool, is_whole: bool) -> Vec<Vec<Vec<u8>>> {
    let mut parser = ReaderBuilder::new().delimiter(delimiter).quoting(quoting).build();
    let mut bytes = bytes.to_vec();
    if is_whole {
        bytes.push(b'\n');
    }
    let (mut cells, mut ends) = (vec![0; bytes.len() + 1], vec![0; bytes.len() + 2]);
    let (mut at, mut records) = (0, Vec::new());
    while at < bytes.len() {
        let (result, read, _, count) = parser.read_record(&bytes[at..], &mut cells, &mut ends);
        at += read;
        if result != ReadRecordResult::Record {
            break;
        }
        let starts = std::iter::once(0).chain(ends[..count].iter().copied());
        let cell = |(start, end): (usize, &usize)| cells[start..*end].to_vec();
        records.push(starts.zip(&ends[..count]).map(cell).collect());
    }
    records
}

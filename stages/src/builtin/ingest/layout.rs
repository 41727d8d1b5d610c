//! The layout of a data file: its format, what separates its cells, and whether it has a header.
//! The parameters give it, or the content of the file shows it.

use csv_core::{ReadRecordResult, ReaderBuilder};

use super::params::{FormatChoice, IngestParams};
use crate::data::data_file::DataFile;
use crate::data::data_file::kind::BinaryKind;
use crate::stage::error::StageError;

/// The format of a data file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFormat {
    /// One object a line.
    Jsonl,
    /// One list of objects.
    Json,
    /// Cells in quotation marks may hold the delimiter, line ends and doubled quotation marks.
    Csv,
    /// Quotation marks are text.
    Tsv,
    Parquet,
    /// Arrow's format of files or of streams.
    Arrow,
}

impl DataFormat {
    pub const ALL: [DataFormat; 6] = [
        DataFormat::Jsonl,
        DataFormat::Json,
        DataFormat::Csv,
        DataFormat::Tsv,
        DataFormat::Parquet,
        DataFormat::Arrow,
    ];

    pub fn name(self) -> &'static str {
        match self {
            DataFormat::Jsonl => "jsonl",
            DataFormat::Json => "json",
            DataFormat::Csv => "csv",
            DataFormat::Tsv => "tsv",
            DataFormat::Parquet => "parquet",
            DataFormat::Arrow => "arrow",
        }
    }
}

/// The format that is named; `None` for `auto`.
fn told(format: FormatChoice) -> Option<DataFormat> {
    match format {
        FormatChoice::Auto => None,
        FormatChoice::Jsonl => Some(DataFormat::Jsonl),
        FormatChoice::Json => Some(DataFormat::Json),
        FormatChoice::Csv => Some(DataFormat::Csv),
        FormatChoice::Tsv => Some(DataFormat::Tsv),
        FormatChoice::Parquet => Some(DataFormat::Parquet),
        FormatChoice::Arrow => Some(DataFormat::Arrow),
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
    pub const fn without_cells(format: DataFormat) -> Layout {
        Layout { format, delimiter: b',', header: true }
    }

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
    /// The file cannot be read, or is no text.
    pub fn of_file(file: &mut DataFile, given: &IngestParams) -> Result<Layout, StageError> {
        let params = given.layout;
        if let Some(layout) = Layout::of_columns(file, told(params.format))? {
            return Ok(layout);
        }
        let format = match (told(params.format), params.delimiter) {
            (Some(format @ (DataFormat::Csv | DataFormat::Tsv)), _) => format,
            (Some(format), _) => return Ok(Layout::without_cells(format)),
            (None, Some(delimiter)) => {
                return Ok(Layout::delimited(delimiter, params.header));
            }
            (None, None) => {
                if let Some(layout) = Layout::of_objects(file)? {
                    return Ok(layout);
                }
                if params.header {
                    return Ok(by_header(file.first_line()?, &given.text_field));
                }
                let found = delimiters(file)?;
                let layout = found.first().map_or(Layout::delimited(b',', false), |it| it.layout);
                return Ok(Layout { header: false, ..layout });
            }
        };
        let delimiter = match (params.delimiter, format) {
            (Some(delimiter), _) => delimiter,
            (None, DataFormat::Tsv) => b'\t',
            (None, _) => match params.header {
                true => by_quoted_header(file.first_line()?, &given.text_field).unwrap_or(b','),
                false => {
                    let found = delimiters(file)?;
                    let found = found.iter().find(|found| found.layout.format == format);
                    found.map_or(b',', |found| found.layout.delimiter)
                }
            },
        };
        Ok(Layout { format, delimiter, header: params.header })
    }

    /// The layout of a file of columns; `None` for a text.
    ///
    /// # Errors
    /// The file is neither, or is not of the format that it is said to have.
    pub fn of_columns(
        file: &mut DataFile,
        told: Option<DataFormat>,
    ) -> Result<Option<Layout>, StageError> {
        let kind = file.binary_kind()?;
        let format = kind.map(|kind| match kind {
            BinaryKind::Parquet => DataFormat::Parquet,
            BinaryKind::ArrowFile | BinaryKind::ArrowStream => DataFormat::Arrow,
        });
        let of_columns = told.filter(|it| matches!(it, DataFormat::Parquet | DataFormat::Arrow));
        let problem = match (format, told) {
            (Some(format), None) => return Ok(Some(Layout::without_cells(format))),
            (Some(found), Some(told)) if found == told => {
                return Ok(Some(Layout::without_cells(found)));
            }
            (Some(found), Some(told)) => {
                let (found, told) = (found.name(), told.name());
                format!("read as {told}, but it is {found}: set `format: {found}`")
            }
            (None, _) => {
                file.refuse_foreign()?;
                let Some(told) = of_columns else { return Ok(None) };
                format!("read as {}, but it does not start like one", told.name())
            }
        };
        Err(StageError::File { path: file.name().to_owned(), problem })
    }

    /// The layout of a file that starts like objects of JSON: lines, or one list. An empty file is
    /// JSONL.
    pub fn of_objects(file: &mut DataFile) -> Result<Option<Layout>, StageError> {
        Ok(match file.first_line()?.trim_ascii_start() {
            [b'{', ..] | [] => Some(Layout::without_cells(DataFormat::Jsonl)),
            [b'[', ..] => Some(Layout::without_cells(DataFormat::Json)),
            _ => None,
        })
    }
}

/// The layout of a file whose header has this field; commas separate cells if the field is not found.
fn by_header(start: &[u8], text_field: &str) -> Layout {
    let header = first_line_of(start);
    let tabbed = header.split(|&byte| byte == b'\t').any(|name| name == text_field.as_bytes());
    match tabbed && header.contains(&b'\t') {
        true => Layout::delimited(b'\t', true),
        // Where tabs separate names in quotation marks, the cells below may be in quotation marks too.
        false => {
            let delimiter = by_quoted_header(start, text_field).unwrap_or(b',');
            Layout { format: DataFormat::Csv, delimiter, header: true }
        }
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
        if layout.format == DataFormat::Tsv {
            let sample = file.sample()?.to_vec();
            let is_quoted = looks_quoted(&sample, file.is_whole());
            if is_quoted || division.share < 1.0 {
                // Quotation marks may hold tabs and line ends. One that is text would seem to hold the
                // rest of the file, and leave few records.
                let quoted = Division::by(file, Layout { format: DataFormat::Csv, ..layout })?;
                let has_most = |it: &Division| 2 * it.records.len() > division.records.len();
                found.extend(quoted.filter(|it| is_quoted || has_most(it)));
            }
        }
        found.push(division);
    }
    // The sort is stable: it keeps the order of `DELIMITERS` among equals.
    found.sort_by(|a, b| {
        b.share.total_cmp(&a.share).then_with(|| b.first().len().cmp(&a.first().len()))
    });
    Ok(found)
}

/// Whether cells that tabs separate are certainly quoted as in CSV: each that begins with a quotation mark
/// ends with the next one that is not doubled, and all of the first line are quoted, or some marks are
/// doubled. A text that begins and ends with a quotation mark is none, and neither is one that is quoted over
/// several lines.
fn looks_quoted(sample: &[u8], is_whole: bool) -> bool {
    let is_end = |byte: Option<&u8>| matches!(byte, None | Some(b'\t' | b'\r' | b'\n'));
    let (mut at, mut is_doubled) = (0, false);
    let (mut in_first, mut first_is_quoted) = (true, true);
    while at < sample.len() {
        first_is_quoted &= !in_first || sample[at] == b'"';
        if sample[at] == b'"' {
            at += 1;
            loop {
                match (sample.get(at), sample.get(at + 1)) {
                    // The cell goes on after the sample, or nobody has closed it.
                    (None, _) => return !is_whole && (is_doubled || first_is_quoted && !in_first),
                    (Some(b'"'), Some(b'"')) => (at, is_doubled) = (at + 2, true),
                    (Some(b'"'), next) if is_end(next) => break,
                    (Some(b'"'), _) => return false,
                    _ => at += 1,
                }
            }
            at += 1;
        }
        // On to the next cell.
        at += sample[at..].iter().take_while(|byte| !is_end(Some(byte))).count();
        in_first &= sample.get(at) == Some(&b'\t');
        at += 1;
    }
    is_doubled || first_is_quoted
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

//! Surveys a file of examples: its format, its fields, and statistics of their values.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use csv::ReaderBuilder;
use serde_json::Value;
use stages::builtin::ingest::layout::DataFormat;
use stages::data::lines::LineReader;

use super::InitError;
use crate::files::file_error::FileError;

/// The number of rows that are read: enough to show what a field is.
const SAMPLED_ROWS: u64 = 20_000;

/// The largest number of distinct values that a label may have.
pub const MOST_LABELS: usize = 200;

/// [`stages::data::data_file::BYTE_ORDER_MARK`] as a character.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// What a file of examples contains.
#[derive(Debug)]
pub struct Survey {
    pub format: DataFormat,
    /// The number of rows read; the file may have more.
    pub rows: u64,
    /// In the order of their first occurrence.
    pub fields: Vec<Field>,
}

/// Statistics of one field over all rows.
#[derive(Debug, Default)]
pub struct Field {
    pub name: String,
    /// Rows in which it is not empty.
    pub filled: u64,
    /// Characters of all values together.
    pub characters: u64,
    /// Rows in which it is a list.
    pub lists: u64,
    /// How often each value occurs. Counts the first [`MOST_LABELS`] + 1 distinct values only.
    pub values: BTreeMap<String, u64>,
}

impl Field {
    /// The mean length of the values, in characters.
    pub fn mean_length(&self) -> f64 {
        self.characters as f64 / self.filled.max(1) as f64
    }

    fn add(&mut self, value: &str) {
        if value.trim().is_empty() {
            return;
        }
        self.filled += 1;
        self.characters += value.chars().count() as u64;
        if let Some(count) = self.values.get_mut(value) {
            *count += 1;
        } else if self.values.len() <= MOST_LABELS {
            self.values.insert(value.to_owned(), 1);
        }
    }
}

impl Survey {
    /// Reads the first 20,000 rows of a file, which for most files is all of them.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or parsed, or has no rows.
    pub fn of(path: &Path) -> Result<Survey, InitError> {
        let mut reader = BufReader::new(File::open(path).map_err(FileError::at("opening", path))?);
        let start = reader.fill_buf().map_err(FileError::at("reading", path))?;
        let start = String::from_utf8_lossy(&start[..start.len().min(1 << 16)]).into_owned();
        let start = start.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&start).trim_start();
        let header = start.lines().next().unwrap_or_default();
        let survey = if start.starts_with('{') {
            jsonl(path)?
        } else if header.matches('\t').count() > header.matches(',').count() {
            delimited(path, reader, DataFormat::Tsv)?
        } else {
            delimited(path, reader, DataFormat::Csv)?
        };
        match survey.rows {
            0 => Err(InitError::Empty { path: path.to_owned() }),
            _ => Ok(survey),
        }
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

fn jsonl(path: &Path) -> Result<Survey, InitError> {
    let mut survey = Survey { format: DataFormat::Jsonl, rows: 0, fields: Vec::new() };
    let mut lines = LineReader::open(path)?;
    while let Some(row) = lines.next_json()? {
        let Value::Object(row) = row else {
            return Err(lines.error("expected a JSON object".to_owned()).into());
        };
        for (name, value) in row {
            let field = survey.field_mut(&name);
            match value {
                Value::String(text) => field.add(&text),
                Value::Number(_) | Value::Bool(_) => field.add(&value.to_string()),
                Value::Array(_) => {
                    (field.lists, field.filled) = (field.lists + 1, field.filled + 1)
                }
                Value::Null | Value::Object(_) => {}
            }
        }
        survey.rows += 1;
        if survey.rows == SAMPLED_ROWS {
            break;
        }
    }
    Ok(survey)
}

fn delimited(path: &Path, reader: impl BufRead, format: DataFormat) -> Result<Survey, InitError> {
    let (delimiter, quoting) =
        if format == DataFormat::Tsv { (b'\t', false) } else { (b',', true) };
    let mut reader = ReaderBuilder::new().delimiter(delimiter).quoting(quoting).from_reader(reader);
    let refused = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        InitError::Line { path: path.to_owned(), line, problem: error.to_string() }
    };
    let mut survey = Survey { format, rows: 0, fields: Vec::new() };
    let header = reader.headers().map_err(refused)?.clone();
    let mut seen = BTreeSet::new();
    for name in &header {
        let name = name.trim_start_matches(BYTE_ORDER_MARK).to_owned();
        if !seen.insert(name.clone()) {
            let problem = format!("two columns are named `{name}`");
            return Err(InitError::Line { path: path.to_owned(), line: 1, problem });
        }
        survey.fields.push(Field { name, ..Field::default() });
    }
    for record in reader.records().take(SAMPLED_ROWS as usize) {
        let record = record.map_err(refused)?;
        for (field, value) in survey.fields.iter_mut().zip(&record) {
            field.add(value);
        }
        survey.rows += 1;
    }
    Ok(survey)
}

impl Survey {
    fn field_mut(&mut self, name: &str) -> &mut Field {
        let at = self.fields.iter().position(|field| field.name == name).unwrap_or_else(|| {
            self.fields.push(Field { name: name.to_owned(), ..Field::default() });
            self.fields.len() - 1
        });
        &mut self.fields[at]
    }
}

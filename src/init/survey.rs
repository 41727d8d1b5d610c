//! Surveys files of examples: their layout, its fields, and statistics of their values. It reads all
//! rows, as `ingest` reads them, because a label may occur in the last one only.

use std::collections::{BTreeMap, HashMap};

use stages::StageError;
use stages::builtin::ingest::files::InputFiles;
use stages::builtin::ingest::jsonl::FieldValue;
use stages::builtin::ingest::layout::{DataFormat, Division, Layout, delimiters};
use stages::builtin::ingest::records::RecordReader;
use stages::data::data_file::DataFile;
use stages::data::data_file::decode::encoding;
use stages::data::labels::LABEL_LIMIT;

use super::InitError;
use super::names::is_common_name;
use super::told::Told;
use crate::files::file_error::FileError;

/// The largest number of distinct values that a field which is not called like a label may have.
pub const MOST_LABELS: usize = 200;

/// The longest value that may be a label, in bytes.
const LONGEST_LABEL: usize = 200;

/// The most fields that are looked at. Objects with more are no rows of a table.
const MOST_FIELDS: usize = 4096;

/// What files of examples contain.
#[derive(Debug)]
pub struct Survey {
    /// Of the first file.
    pub layout: Layout,
    /// The layouts of the other files that have a different one.
    pub others: Vec<Layout>,
    /// The rows that can be read, and those that cannot.
    pub rows: u64,
    pub malformed: u64,
    pub first_problem: Option<StageError>,
    /// In the order of their first occurrence.
    pub fields: Vec<Field>,
    places: HashMap<String, usize>,
}

/// Statistics of one field over all rows.
#[derive(Debug, Default)]
pub struct Field {
    /// With the names of the objects that it is in: `tweet.full_text`.
    pub name: String,
    /// Whether it is in another field, which is an object.
    pub is_inner: bool,
    /// Rows in which it is not empty.
    pub filled: u64,
    /// Characters of all values together.
    pub characters: u64,
    /// Rows in which it is a list of texts.
    pub lists: u64,
    /// Rows in which it is an object, or a list of other things.
    pub others: u64,
    /// Rows in which it is a JSON number or truth value.
    pub scalars: u64,
    /// Whether a value is too long for a label.
    pub is_long: bool,
    /// How often each value occurs. Counts the first [`LABEL_LIMIT`] + 1 distinct values only.
    pub values: BTreeMap<String, u64>,
}

impl Field {
    /// The mean length of the values, in characters.
    pub fn mean_length(&self) -> f64 {
        self.characters as f64 / self.filled.max(1) as f64
    }

    fn add(&mut self, value: FieldValue) {
        match value {
            FieldValue::Empty => {}
            FieldValue::Turns => (self.lists, self.filled) = (self.lists + 1, self.filled + 1),
            FieldValue::Other | FieldValue::Object(_) => {
                (self.others, self.filled) = (self.others + 1, self.filled + 1)
            }
            FieldValue::Text(text) => self.add_text(&text),
            FieldValue::Scalar(text) => {
                self.scalars += 1;
                self.add_text(&text);
            }
        }
    }

    fn add_text(&mut self, value: &str) {
        if value.trim().is_empty() {
            return;
        }
        self.filled += 1;
        self.characters += value.chars().count() as u64;
        if let Some(count) = self.values.get_mut(value) {
            *count += 1;
        } else if value.len() > LONGEST_LABEL {
            self.is_long = true;
        } else if self.values.len() <= LABEL_LIMIT {
            self.values.insert(value.to_owned(), 1);
        }
    }
}

impl Survey {
    /// Reads all files.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, there are no rows, or a layout cannot be guessed.
    pub fn of(files: &InputFiles, told: &Told) -> Result<Survey, InitError> {
        let mut survey: Option<Survey> = None;
        for path in &files.paths {
            let metadata = std::fs::metadata(path).map_err(FileError::at("opening", path))?;
            if !metadata.is_file() {
                return Err(InitError::NoFile { path: path.to_owned() });
            }
            let mut file = DataFile::open(path)?;
            file.decode_as(told.encoding.as_deref().and_then(encoding));
            let layout = layout(&mut file, told)?;
            if file.first_line()?.trim_ascii().is_empty() {
                return Err(InitError::Empty { path: path.to_owned() });
            }
            let survey = survey.get_or_insert_with(|| Survey::new(layout));
            if survey.layout != layout && !survey.others.contains(&layout) {
                survey.others.push(layout);
            }
            survey.read(file, layout)?;
        }
        let empty = || InitError::Empty { path: files.name.clone() };
        let mut survey = survey.ok_or_else(empty)?;
        match (survey.rows, survey.first_problem.take()) {
            (0, Some(problem)) => Err(problem.into()),
            (0, None) => Err(empty()),
            (_, first_problem) => Ok(Survey { first_problem, ..survey }),
        }
    }

    fn new(layout: Layout) -> Survey {
        Survey {
            layout,
            others: Vec::new(),
            rows: 0,
            malformed: 0,
            first_problem: None,
            fields: Vec::new(),
            places: HashMap::new(),
        }
    }

    fn read(&mut self, file: DataFile, layout: Layout) -> Result<(), InitError> {
        let mut records = RecordReader::open(file, layout, None)?;
        if let RecordReader::Delimited(reader) = &records {
            for name in reader.names() {
                self.place(name, false);
            }
        }
        while let Some(advanced) = records.advance()? {
            match advanced.and_then(|()| records.fields()) {
                Ok(fields) => self.add(fields),
                Err(problem) => {
                    self.malformed += 1;
                    self.first_problem.get_or_insert_with(|| records.error(problem));
                }
            }
        }
        Ok(())
    }

    /// The formats of all files, in the order in which they first occur.
    pub fn formats(&self) -> Vec<DataFormat> {
        let mut formats = vec![self.layout.format];
        for other in &self.others {
            if !formats.contains(&other.format) {
                formats.push(other.format);
            }
        }
        formats
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn add(&mut self, fields: Vec<(String, FieldValue)>) {
        self.rows += 1;
        self.add_fields("", fields);
    }

    fn add_fields(&mut self, before: &str, fields: Vec<(String, FieldValue)>) {
        for (name, mut value) in fields {
            let name = format!("{before}{name}");
            let inner = match &mut value {
                FieldValue::Object(inner) => std::mem::take(inner),
                _ => Vec::new(),
            };
            if let Some(place) = self.place(&name, !before.is_empty()) {
                self.fields[place].add(value);
            }
            self.add_fields(&format!("{name}."), inner);
        }
    }

    fn place(&mut self, name: &str, is_inner: bool) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        if self.fields.len() == MOST_FIELDS {
            return None;
        }
        self.places.insert(name.to_owned(), self.fields.len());
        self.fields.push(Field { name: name.to_owned(), is_inner, ..Field::default() });
        Some(self.fields.len() - 1)
    }
}

/// The layout: as told, else as the start of the file shows it.
fn layout(file: &mut DataFile, told: &Told) -> Result<Layout, InitError> {
    if let Some(layout) = Layout::of_columns(file, told.format)? {
        return Ok(layout);
    }
    let is_cells = told.delimiter.is_some() || told.header.is_some();
    match told.format {
        Some(DataFormat::Csv | DataFormat::Tsv) => {}
        Some(format) => return Ok(Layout::without_cells(format)),
        None if is_cells => {}
        None => {
            if let Some(layout) = Layout::of_objects(file)? {
                return Ok(layout);
            }
        }
    }
    let mut found = delimiters(file)?;
    if let Some(delimiter) =
        told.delimiter.or((told.format == Some(DataFormat::Tsv)).then_some(b'\t'))
    {
        found.retain(|division| division.layout.delimiter == delimiter);
        if found.is_empty() {
            found.extend(Division::by(file, Layout::delimited(delimiter, true))?);
        }
    }
    let known = |cell: &String| told.names().any(|name| name == cell) || is_common_name(cell);
    let by_name = found.iter().find(|division| division.first().iter().any(known));
    let Some(division) = by_name.or(found.first()) else {
        return Err(InitError::OneColumn { path: file.name().to_owned() });
    };
    let header = match told.header {
        Some(header) => header,
        None => has_header(division, known)
            .ok_or_else(|| InitError::HeaderUnclear { path: file.name().to_owned() })?,
    };
    let mut layout = Layout { header, ..division.layout };
    layout.format = told.format.unwrap_or(layout.format);
    Ok(layout)
}

/// Whether the first record names the columns; `None` if it is hard to say.
fn has_header(division: &Division, known: impl Fn(&String) -> bool) -> Option<bool> {
    let first = division.first();
    if first.iter().any(known) {
        return Some(true);
    }
    let rest = division.records.get(1..).unwrap_or_default();
    let is_number = |cell: &str| cell.trim().parse::<f64>().is_ok_and(f64::is_finite);
    // A value that occurs again in its own column is no name.
    let recurs = |(column, cell): (usize, &String)| {
        !cell.is_empty() && rest.iter().any(|record| record.get(column) == Some(cell))
    };
    if first.iter().any(|cell| is_number(cell)) || first.iter().enumerate().any(recurs) {
        return Some(false);
    }
    let is_sentence = |cell: &String| cell.split_whitespace().count() > 5 || cell.len() > 60;
    (!first.iter().any(is_sentence)).then_some(true)
}

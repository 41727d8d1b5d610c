//! Reads Parquet and Arrow IPC row by row in bounded memory. A row becomes one JSON object, so that
//! all checks of JSON lines hold for it, and lists stay lists.

mod batches;
mod cells;
mod messages;

use std::ops::Range;
use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields};

use self::batches::Batches;
use self::cells::{is_readable, write_cell};
use super::layout::DataFormat;
use super::params::IngestParams;
use crate::data::data_file::DataFile;
use crate::data::lines::{BEGINNING, LINE_LIMIT, too_long_problem};
use crate::data::nearest::list_names;
use crate::stage::error::StageError;
use crate::stage::panics::guarded;

/// How many rows are made JSON at once.
const PART: usize = 1024;

/// A file of columns.
pub struct ColumnarReader {
    name: PathBuf,
    batches: Batches,
    /// The rows that were read and are not yet used.
    batch: Option<(RecordBatch, usize)>,
    /// Some rows of the batch as JSON, and the row that is the current one.
    rows: Rows,
    row: usize,
    /// The number of the current row in the file, counted from 1.
    number: u64,
}

/// Rows as JSON, one after the other.
#[derive(Default)]
struct Rows {
    json: Vec<u8>,
    rows: Vec<(Range<usize>, Result<(), String>)>,
}

impl ColumnarReader {
    /// Opens a file for the fields that the parameters name, or for all fields.
    ///
    /// # Errors
    /// The file is damaged, or lacks a required field, or the type of a field cannot be read.
    pub fn open(
        file: DataFile,
        format: DataFormat,
        wanted: Option<(&IngestParams, bool)>,
    ) -> Result<ColumnarReader, StageError> {
        let name = file.name().to_owned();
        let batches = Batches::open(file, format)?;
        let schema = batches.schema();
        let fields = schema.fields();
        let columns = match wanted {
            Some((params, label_required)) => columns(fields, params, label_required, format)
                .map_err(|problem| StageError::File { path: name.clone(), problem })?,
            None => {
                let readable = |at: &usize| is_readable(fields[*at].data_type());
                (0..fields.len()).filter(readable).collect()
            }
        };
        let batches = batches.keep(&columns)?;
        let (batch, rows) = (None, Rows::default());
        Ok(ColumnarReader { name, batches, batch, rows, row: 0, number: 0 })
    }

    /// Advances to the next row, which may have a problem, in words; `None` at the end of the file.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn advance(&mut self) -> Result<Option<Result<(), String>>, StageError> {
        self.row += 1;
        while self.row >= self.rows.rows.len() {
            if !self.read_rows()? {
                return Ok(None);
            }
        }
        self.number += 1;
        Ok(Some(self.rows.rows[self.row].1.clone()))
    }

    /// The current row as JSON; its beginning if it is too long.
    pub fn row(&self) -> &[u8] {
        match self.rows.rows.get(self.row) {
            Some((range, _)) => &self.rows.json[range.clone()],
            None => &[],
        }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn bytes(&self) -> (u64, u64) {
        self.batches.bytes()
    }

    /// An error about the current row.
    pub fn error(&self, problem: String) -> StageError {
        StageError::Row { path: self.name.clone(), row: self.number, problem }
    }

    /// Replaces the rows by the next ones; `false` at the end of the file.
    fn read_rows(&mut self) -> Result<bool, StageError> {
        self.row = 0;
        self.rows.clear();
        if self.batch.is_none() {
            self.batch = self.batches.next()?.map(|batch| (batch, 0));
        }
        let Some((batch, start)) = self.batch.take() else { return Ok(false) };
        let end = batch.num_rows().min(start + PART);
        let made = guarded(|| self.rows.add(&batch, start..end));
        made.map_err(|problem| StageError::File {
            path: self.name.clone(),
            problem: format!("damaged after row {}: {problem}", self.number),
        })?;
        if end < batch.num_rows() {
            self.batch = Some((batch, end));
        }
        Ok(true)
    }
}

impl Rows {
    fn clear(&mut self) {
        self.json.clear();
        self.rows.clear();
    }

    fn add(&mut self, batch: &RecordBatch, range: Range<usize>) {
        let schema = batch.schema_ref();
        let columns: Vec<(String, &Field, _)> = (schema.fields().iter().zip(batch.columns()))
            .map(|(field, column)| (key(field.name()), field.as_ref(), column.as_ref()))
            .collect();
        for row in range {
            let start = self.json.len();
            let mut result = Ok(());
            self.json.push(b'{');
            for (at, (key, field, column)) in columns.iter().enumerate() {
                if at > 0 {
                    self.json.push(b',');
                }
                self.json.extend_from_slice(key.as_bytes());
                if let Err(found) = write_cell(&mut self.json, *column, row) {
                    self.json.extend_from_slice(b"null");
                    let name = field.name();
                    result = result.and(Err(format!("the field `{name}` has {found}")));
                }
            }
            self.json.push(b'}');
            if self.json.len() - start > LINE_LIMIT {
                self.json.truncate(start + BEGINNING);
                result = Err(too_long_problem());
            }
            self.rows.push((start..self.json.len(), result));
        }
    }
}

/// The name of a field as a key of JSON.
fn key(name: &str) -> String {
    format!("{}:", serde_json::Value::from(name))
}

/// The columns of the fields that the parameters name.
fn columns(
    fields: &Fields,
    params: &IngestParams,
    label_required: bool,
    format: DataFormat,
) -> Result<Vec<usize>, String> {
    let IngestParams { text_field, label_field, id_field, context_field, .. } = params;
    let [label, id, context] = [label_field, id_field, context_field].map(Option::as_deref);
    let flags = || params.form.fields.iter().map(String::as_str);
    // Either all of the flags or none.
    let needs_flags = label_required || flags().any(|name| find(fields, name).is_some());
    let required = std::iter::once(text_field.as_str())
        .chain(label.filter(|_| label_required))
        .chain(flags().filter(|_| needs_flags));
    for name in required {
        if find(fields, name).is_none() {
            let mut known = Vec::new();
            list(fields, "", name.contains('.'), &mut known);
            let found = list_names(name, known.iter().map(String::as_str));
            let read_as = format.name();
            return Err(format!(
                "read as {read_as}, there is no column `{name}`; there are {found}"
            ));
        }
    }
    let mut columns = Vec::new();
    let named = [Some(text_field.as_str()), label, id, context].into_iter().flatten();
    for name in named.chain(flags()) {
        let called = fields.iter().filter(|field| field.name() == name).count();
        if called > 1 {
            return Err(format!("the column `{name}` occurs twice"));
        }
        let Some(found) = find(fields, name) else { continue };
        if !is_readable(found) {
            return Err(format!("the column `{name}` has the type {found}, which cannot be read"));
        }
        let is_part = |field: &&std::sync::Arc<Field>| {
            let rest = name.strip_prefix(field.name().as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        columns.extend(fields.iter().enumerate().filter(|(_, it)| is_part(it)).map(|(at, _)| at));
    }
    columns.sort_unstable();
    columns.dedup();
    // A column that cannot be read is part of a path here, and holds no object.
    columns.retain(|at| is_readable(fields[*at].data_type()));
    Ok(columns)
}

/// The type of a field, which may be in others: `tweet.full_text`.
fn find<'a>(fields: &'a Fields, path: &str) -> Option<&'a DataType> {
    if let Some(field) = fields.iter().find(|field| field.name() == path) {
        return Some(field.data_type());
    }
    fields.iter().find_map(|field| match field.data_type() {
        DataType::Struct(inner) => {
            find(inner, path.strip_prefix(field.name().as_str())?.strip_prefix('.')?)
        }
        _ => None,
    })
}

fn list(fields: &Fields, before: &str, with_inner: bool, names: &mut Vec<String>) {
    for field in fields {
        let name = format!("{before}{}", field.name());
        match field.data_type() {
            DataType::Struct(inner) if with_inner => list(inner, &format!("{name}."), true, names),
            _ => names.push(name),
        }
    }
}

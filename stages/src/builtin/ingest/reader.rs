//! Reads the examples of a file of any format, row by row.

use super::delimited::DelimitedReader;
use super::jsonl;
use super::layout::Layout;
use super::params::IngestParams;
use super::records::RecordReader;
use super::targets::flagged;
use crate::data::data_file::DataFile;
use crate::data::example::Example;
use crate::data::nearest::list_names;
use crate::stage::error::StageError;

/// A row of an input, well-formed or not.
pub struct InputRow<'a> {
    /// The line on which it begins, or its number in a file without lines, counted from 1.
    pub line: u64,
    /// The row as it is in the file, or the beginning of it if it is too long.
    pub raw: &'a [u8],
    /// The example, or the problem in words. Its id is empty if the row has none.
    pub example: Result<Example, String>,
}

/// An open input.
pub struct InputReader {
    records: RecordReader,
    columns: Columns,
    pub layout: Layout,
}

/// Which columns of cells hold the fields, counted from 0. Other formats name the fields in each row.
#[derive(Default)]
struct Columns {
    id: Option<usize>,
    label: Option<usize>,
    /// Those of `label_fields`; empty if the file has none of them.
    labels: Vec<usize>,
    text: usize,
    context: Option<usize>,
}

impl InputReader {
    /// # Errors
    /// The file is no text; the header of a CSV or TSV file lacks a required field.
    pub fn open(
        mut file: DataFile,
        params: &IngestParams,
        label_required: bool,
    ) -> Result<InputReader, StageError> {
        file.decode_as(params.layout.encoding);
        let layout = Layout::of_file(&mut file, params)?;
        let records = RecordReader::open(file, layout, Some((params, label_required)))?;
        let columns = match &records {
            RecordReader::Delimited(reader) => columns(reader, params, label_required)?,
            _ => Columns::default(),
        };
        Ok(InputReader { records, columns, layout })
    }

    /// The next row, `None` at the end of the file. Blank lines are skipped.
    pub fn next_row(&mut self, params: &IngestParams) -> Result<Option<InputRow<'_>>, StageError> {
        let Some(advanced) = self.records.advance()? else { return Ok(None) };
        let line = self.records.number();
        let example = advanced.and_then(|()| match &self.records {
            RecordReader::Delimited(reader) => self.columns.example(reader, params),
            _ => jsonl::parse(self.records.raw(), params),
        });
        let example = example.map(|example| Example { line, ..example });
        Ok(Some(InputRow { line, raw: self.records.raw(), example }))
    }

    /// The bytes read so far, and the size of the file when it was opened; 0 if it has none.
    pub fn bytes(&self) -> (u64, u64) {
        self.records.bytes()
    }

    /// An error about the current row.
    pub fn error(&self, problem: String) -> StageError {
        self.records.error(problem)
    }
}

impl Columns {
    fn example(&self, reader: &DelimitedReader, params: &IngestParams) -> Result<Example, String> {
        let label = match self.labels.as_slice() {
            [] => self.label.map(|index| reader.cell(index).into()),
            columns => flagged(params, columns.iter().map(|index| Some(reader.cell(*index))))?,
        };
        Ok(Example {
            id: self.id.map(|index| reader.cell(index)).unwrap_or_default(),
            label,
            text: reader.cell(self.text),
            context: match self.context {
                Some(index) => params.turns(&reader.cell(index)),
                None => Vec::new(),
            },
            line: 0,
        })
    }
}

/// Finds the columns of the fields.
fn columns(
    reader: &DelimitedReader,
    params: &IngestParams,
    label_required: bool,
) -> Result<Columns, StageError> {
    let names = reader.names();
    let IngestParams { id_field, label_field, text_field, context_field, .. } = params;
    let [id, label, context] = [id_field, label_field, context_field].map(Option::as_deref);
    let flags = || params.form.fields.iter().map(String::as_str);
    for name in [id, label, Some(text_field.as_str()), context].into_iter().flatten().chain(flags())
    {
        if names.iter().filter(|found| *found == name).count() > 1 {
            return Err(reader.error(format!("the header has the field `{name}` twice")));
        }
    }
    let find = |name: &str| names.iter().position(|found| found == name);
    let optional = |name: Option<&str>| name.and_then(find);
    let missing = match (find(text_field), label) {
        (None, _) => Some(text_field.as_str()),
        (Some(_), Some(label)) if label_required && find(label).is_none() => Some(label),
        // Either all of them or none.
        (Some(_), _) => flags()
            .find(|name| find(name).is_none())
            .filter(|_| label_required || flags().any(|it| find(it).is_some())),
    };
    if let Some(name) = missing {
        let Layout { format, header, .. } = reader.layout();
        let found = list_names(name, names.iter().map(String::as_str));
        let has_none = match header {
            true => "the header has no field",
            false => "there is no column",
        };
        let problem = format!("read as {}, {has_none} `{name}`; there are {found}", format.name());
        return Err(reader.error(problem));
    }
    let text = find(text_field).unwrap_or_default();
    let labels = flags().filter_map(find).collect();
    let (id, label, context) = (optional(id), optional(label), optional(context));
    Ok(Columns { id, label, labels, text, context })
}

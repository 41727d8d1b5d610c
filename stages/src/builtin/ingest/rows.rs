//! The rows of an input as the stage takes them: checked, cleaned, counted, with unique ids. `pipe
//! init` reads them too, so that it knows what the stage will say.

use std::path::PathBuf;

use super::checks::{checked, mapped};
use super::duplicates::Ids;
use super::files::InputFiles;
use super::layout::Layout;
use super::params::IngestParams;
use super::reader::{InputReader, InputRow};
use super::report::{InputReport, InputTally};
use super::targets::target;
use crate::data::example::TextKey;
use crate::data::label_names::{row_count, too_many_labels};
use crate::data::task::Task;
use crate::stage::error::StageError;

/// An open input.
pub struct CheckedRows<'a> {
    path: PathBuf,
    reader: InputReader,
    params: &'a IngestParams,
    is_train: bool,
    label_required: bool,
    ids: Ids,
    tally: InputTally,
}

impl CheckedRows<'_> {
    /// Opens the input `train` or `test`.
    ///
    /// # Errors
    /// A file cannot be opened, or lacks a required field.
    pub fn open<'a>(
        files: &InputFiles,
        params: &'a IngestParams,
        input: &str,
    ) -> Result<CheckedRows<'a>, StageError> {
        let label_required = input == "train" && params.require_labels;
        let reader = InputReader::open(files, params, label_required)?;
        Ok(CheckedRows {
            path: files.name.clone(),
            reader,
            params,
            is_train: input == "train",
            label_required,
            ids: Ids::new(input),
            tally: InputTally::default(),
        })
    }

    /// The next row with its example, or the problem in words; `None` at the end of the file.
    pub fn next_row(&mut self) -> Result<Option<InputRow<'_>>, StageError> {
        let CheckedRows { reader, params, label_required, ids, tally, .. } = self;
        let Some(row) = reader.next_row(params)? else { return Ok(None) };
        let example = row.example.and_then(|mut example| {
            example.label = target(example.label, params)?;
            let mut example =
                checked(mapped(example, params, &mut tally.replaced), params, *label_required)?;
            let label = tally.label_of(&example)?;
            example.id = ids.of_row(example.id, row.number)?;
            tally.add(&example, label);
            Ok(example)
        });
        tally.skipped += u64::from(example.is_err());
        Ok(Some(InputRow { example, ..row }))
    }

    pub fn layout(&self) -> Layout {
        self.reader.layout
    }

    /// An error about the current row.
    pub fn error(&self, problem: String) -> StageError {
        self.reader.error(problem)
    }

    /// The bytes read so far, and the size of the file when it was opened.
    pub fn bytes(&self) -> (u64, u64) {
        self.reader.bytes()
    }

    /// The report on the input, and the sorted keys of its texts.
    ///
    /// # Errors
    /// There was no usable row, or the field of the label does not look like one.
    pub fn finish(self) -> Result<(InputReport, Vec<TextKey>), StageError> {
        if self.tally.keys.is_empty() {
            return Err(no_rows(self.path, self.tally.skipped));
        }
        let (report, keys) = self.tally.finish(self.reader.layout.format, self.params.form.task);
        if let Some(sets) = &report.label_sets
            && sets.known == sets.empty
            && sets.known > 0
        {
            let problem = format!(
                "none of the {} has a label{}",
                row_count(sets.known),
                if self.is_train { "" } else { "; if they are not known, leave the field out" }
            );
            return Err(StageError::File { path: self.path, problem });
        }
        if self.is_train && self.params.labels.is_empty() && self.params.form.task == Task::Single {
            let rows = report.labels.values().map(|label| label.rows);
            if let Some(found) = too_many_labels(rows) {
                let problem = not_labels(self.params, &found);
                return Err(StageError::File { path: self.path, problem });
            }
        }
        Ok((report, keys))
    }
}

fn not_labels(params: &IngestParams, found: &str) -> String {
    let field = params.label_field.as_deref().unwrap_or_default();
    format!(
        "the field `{field}` has {found}, so it is hardly the label; name another as `label_field`, or \
         list the labels that are meant in `labels`"
    )
}

fn no_rows(path: PathBuf, skipped: u64) -> StageError {
    let problem = match skipped {
        0 => "holds no rows".to_owned(),
        _ => format!("holds no usable row: all {skipped} are malformed"),
    };
    StageError::File { path, problem }
}

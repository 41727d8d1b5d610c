//! Examples in memory, and the classes of the training examples.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::example::Example;
use crate::data::label_names::untrained_warning;
use crate::data::lines::LineReader;
use crate::data::target::Target;
use crate::data::task::{CommonTask, Task};
use crate::stage::error::StageError;

/// A file of examples.
pub struct Examples {
    pub path: PathBuf,
    /// With only the turns of context that are used.
    pub rows: Vec<Example>,
    /// The line of the file that each row is on.
    lines: Vec<u64>,
}

/// The text of an example's turns of context, joined by spaces; empty if there are none.
pub fn context_text(example: &Example) -> Cow<'_, str> {
    Cow::Owned(example.context.join(" "))
}

/// The text of an example's response.
pub fn response_text(example: &Example) -> Cow<'_, str> {
    Cow::Borrowed(&example.text)
}

/// The labels of the training examples, in alphabetical order.
pub struct Classes {
    pub names: Vec<String>,
    /// The class of each training example.
    pub of_rows: Vec<usize>,
}

/// Reads a file of examples, with the last `turns` turns of context, or with all.
pub fn read(path: &Path, turns: Option<usize>) -> Result<Examples, StageError> {
    let mut reader = LineReader::open(path)?;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    while let Some(mut example) = reader.next_json::<Example>()? {
        let skipped = turns.map_or(0, |turns| example.context.len().saturating_sub(turns));
        example.context.drain(..skipped);
        rows.push(example);
        lines.push(reader.number());
    }
    Ok(Examples { path: path.to_owned(), rows, lines })
}

impl Examples {
    /// A warning about labels that are no class of the training examples. `input` names these
    /// examples.
    pub fn untrained(&self, input: &str, names: &[String]) -> Option<String> {
        let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
        for label in self.rows.iter().filter_map(|row| row.label.as_ref()).flat_map(Target::labels)
        {
            *rows.entry(label).or_default() += 1;
        }
        let found: Vec<(&str, u64)> = rows.into_iter().collect();
        let trained: Vec<&str> = names.iter().map(String::as_str).collect();
        untrained_warning(input, &found, &trained, "it takes rows with the label in `train`")
    }

    /// The task of the labels; [`Task::Single`] if there are none.
    ///
    /// # Errors
    /// A row has a label of another task than those before.
    pub fn task(&self) -> Result<Task, StageError> {
        let mut task = CommonTask::default();
        for (row, line) in self.rows.iter().zip(&self.lines) {
            row.label.as_ref().map_or(Ok(()), |label| task.add(label.task())).map_err(
                |problem| StageError::Line { path: self.path.clone(), line: *line, problem },
            )?;
        }
        Ok(task.or_single())
    }

    /// The label of every row.
    ///
    /// # Errors
    /// A row has none.
    pub fn targets(&self) -> Result<Vec<&Target>, StageError> {
        let mut targets = Vec::with_capacity(self.rows.len());
        for (row, line) in self.rows.iter().zip(&self.lines) {
            let Some(label) = &row.label else {
                let problem = "no label, and training needs one in every row".to_owned();
                return Err(StageError::Line { path: self.path.clone(), line: *line, problem });
            };
            targets.push(label);
        }
        Ok(targets)
    }

    /// The classes to train.
    ///
    /// # Errors
    /// A row has no label, or there are fewer than two labels.
    pub fn classes(&self) -> Result<Classes, StageError> {
        let labels: Vec<&str> = self.targets()?.into_iter().filter_map(Target::label).collect();
        let mut names: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 {
            let problem = match names.first() {
                Some(only) => format!("only the label `{only}`, expected at least two"),
                None => "holds no examples".to_owned(),
            };
            return Err(StageError::File { path: self.path.clone(), problem });
        }
        let of_rows =
            labels.iter().map(|label| names.partition_point(|name| name.as_str() < *label));
        Ok(Classes { of_rows: of_rows.collect(), names })
    }
}

//! Examples in memory, and the classes of the training examples.

use std::path::{Path, PathBuf};

use crate::data::example::Example;
use crate::data::lines::LineReader;
use crate::stage::error::StageError;

/// A file of examples.
pub struct Examples {
    pub path: PathBuf,
    pub texts: Vec<Text>,
}

/// One example.
pub struct Text {
    pub id: String,
    pub label: Option<String>,
    pub response: String,
    /// The turns of context that are used, joined by spaces; empty if there are none.
    pub context: String,
    line: u64,
}

/// The labels of the training examples, in alphabetical order.
pub struct Classes {
    pub names: Vec<String>,
    /// The class of each training example.
    pub of_rows: Vec<usize>,
}

/// Reads a file of examples, with the last `turns` turns of context, or with all.
pub fn read(path: &Path, turns: Option<usize>) -> Result<Examples, StageError> {
    let mut lines = LineReader::open(path)?;
    let mut texts = Vec::new();
    while let Some(example) = lines.next_json::<Example>()? {
        let skipped = turns.map_or(0, |turns| example.context.len().saturating_sub(turns));
        texts.push(Text {
            id: example.id,
            label: example.label,
            response: example.text,
            context: example.context[skipped..].join(" "),
            line: lines.number(),
        });
    }
    Ok(Examples { path: path.to_owned(), texts })
}

impl Examples {
    /// The classes to train.
    ///
    /// # Errors
    /// A row has no label, or there are fewer than two labels.
    pub fn classes(&self) -> Result<Classes, StageError> {
        let mut labels = Vec::with_capacity(self.texts.len());
        for text in &self.texts {
            let Some(label) = &text.label else {
                let problem = "no label, and training needs one in every row".to_owned();
                return Err(StageError::Line { path: self.path.clone(), line: text.line, problem });
            };
            labels.push(label);
        }
        let mut names: Vec<String> = labels.iter().map(|label| (*label).clone()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 {
            let problem = match names.first() {
                Some(only) => format!("only the label `{only}`, expected at least two"),
                None => "holds no examples".to_owned(),
            };
            return Err(StageError::File { path: self.path.clone(), problem });
        }
        let of_rows = labels.iter().map(|label| names.partition_point(|name| name < *label));
        Ok(Classes { of_rows: of_rows.collect(), names })
    }
}

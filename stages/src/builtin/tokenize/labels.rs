//! Which labels there are, in which order, and the class index of a row's label.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::rows::{Batch, Label, Rows, parse};
use crate::stage::error::StageError;

/// More names than that are not listed in a message.
const LISTED: usize = 12;

/// Label names with their class indices.
pub struct Labels {
    names: Vec<String>,
    classes: BTreeMap<String, usize>,
}

impl Labels {
    /// `given` in that order; without any, the sorted labels of the first input that has some.
    pub fn new(given: Vec<String>, inputs: &[&Path]) -> Result<Labels, StageError> {
        let mut names = given;
        for input in inputs {
            if !names.is_empty() {
                break;
            }
            names = found(input)?.into_iter().collect();
        }
        let classes = names.iter().cloned().enumerate().map(|(class, name)| (name, class));
        let classes = classes.collect();
        Ok(Labels { names, classes })
    }

    /// Names by class index.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The class of a row's label; an unknown one is an error with the place and a suggestion.
    pub fn class(
        &self,
        label: Option<&str>,
        path: &Path,
        line: u64,
    ) -> Result<Option<usize>, StageError> {
        let Some(label) = label else { return Ok(None) };
        if let Some(class) = self.classes.get(label) {
            return Ok(Some(*class));
        }
        let distance = |name: &&String| {
            strsim::damerau_levenshtein(&name.to_lowercase(), &label.to_lowercase())
        };
        let nearest = self.names.iter().min_by_key(distance);
        let nearest = nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        let listed = match self.names.len() <= LISTED {
            true => self.names.join(", "),
            false => format!("the {} labels", self.names.len()),
        };
        Err(StageError::Line {
            path: path.to_owned(),
            line,
            problem: format!("label `{label}` is not one of {listed}{nearest}"),
        })
    }
}

/// The labels that a file has.
fn found(path: &Path) -> Result<BTreeSet<String>, StageError> {
    let mut rows = Rows::open(path)?;
    let mut batch = Batch::default();
    let mut found = BTreeSet::new();
    while rows.next_batch(&mut batch)? {
        for index in 0..batch.len() {
            let row: Label = parse(path, batch.line(index))?;
            if let Some(label) = row.label.filter(|label| !found.contains(label)) {
                found.insert(label);
            }
        }
    }
    Ok(found)
}

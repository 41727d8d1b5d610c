//! The labels in the order of their class indices.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::data::example::Example;
use crate::data::lines::LineReader;
use crate::data::nearest::nearest;
use crate::stage::error::StageError;

/// Messages list the names of at most this many labels.
const LISTED: usize = 12;

/// Label names with their class indices.
pub struct LabelClasses {
    names: Vec<String>,
    classes: BTreeMap<String, usize>,
}

impl LabelClasses {
    /// The labels `given`, in that order. If there are none, the sorted labels of the first input
    /// that has labels.
    ///
    /// # Errors
    /// A malformed row of an input.
    pub fn new(given: Vec<String>, inputs: &[&Path]) -> Result<LabelClasses, StageError> {
        let mut names = given;
        for input in inputs {
            if !names.is_empty() {
                break;
            }
            names = labels_of(input)?.into_iter().collect();
        }
        let classes = names.iter().cloned().enumerate().map(|(class, name)| (name, class));
        let classes = classes.collect();
        Ok(LabelClasses { names, classes })
    }

    /// Names by class index.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The class of a label.
    ///
    /// # Errors
    /// An unknown label: the problem in words, with the nearest known label.
    pub fn class(&self, label: &str) -> Result<usize, String> {
        if let Some(class) = self.classes.get(label) {
            return Ok(*class);
        }
        let listed = match self.names.len() <= LISTED {
            true => self.names.join(", "),
            false => format!("the {} labels", self.names.len()),
        };
        let nearest = nearest(label, self.names.iter().map(String::as_str));
        let hint = nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        Err(format!("label `{label}` is not one of {listed}{hint}"))
    }
}

/// The labels that occur in a file.
fn labels_of(path: &Path) -> Result<BTreeSet<String>, StageError> {
    let mut lines = LineReader::open(path)?;
    let mut labels = BTreeSet::new();
    while let Some(example) = lines.next_json::<Example>()? {
        labels.extend(example.label);
    }
    Ok(labels)
}

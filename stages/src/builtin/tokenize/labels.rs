//! The labels in the order of their class indices.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::data::example::Example;
use crate::data::label_names::{look_alike, shown, untrained_warning};
use crate::data::lines::LineReader;
use crate::data::nearest::nearest;
use crate::data::target::Target;
use crate::data::token_labels::Gold;
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

    /// A label by class index.
    ///
    /// # Errors
    /// An unknown label, or a number where there are labels: the problem in words.
    pub fn gold(&self, target: Option<&Target>) -> Result<Gold, String> {
        match target {
            None => Ok(Gold::None),
            Some(Target::Label(label)) => self.class(label).map(Gold::Class),
            Some(Target::Labels(labels)) => {
                let classes = labels.iter().map(|label| self.class(label));
                let mut classes = classes.collect::<Result<Vec<usize>, String>>()?;
                classes.sort_unstable();
                Ok(Gold::Classes(classes))
            }
            Some(Target::Number(number)) if self.names.is_empty() => Ok(Gold::Number(*number)),
            Some(Target::Number(number)) => Err(format!(
                "the label is the number {number}, expected one of {}",
                self.names.join(", ")
            )),
        }
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
        let names = || self.names.iter().map(String::as_str);
        let hint = match (look_alike(label, names()), nearest(label, names())) {
            (Some((name, difference)), _) => format!(
                "; it differs from {} only in {difference}: `label_map` of `ingest` can replace it",
                shown(name)
            ),
            (None, Some(name)) => format!("; did you mean `{name}`?"),
            (None, None) => String::new(),
        };
        Err(format!("label {} is not one of {listed}{hint}", shown(label)))
    }

    /// A warning about labels of `input` that `train` lacks, from the rows of each class.
    pub fn untrained(&self, train: &[u64], input: &str, rows: &[u64]) -> Option<String> {
        let of_class = |counts: &[u64], class: usize| counts.get(class).copied().unwrap_or(0);
        let all = || self.names.iter().map(String::as_str).enumerate();
        let found: Vec<_> = all().map(|(class, name)| (name, of_class(rows, class))).collect();
        let trained = all().filter(|(class, _)| of_class(train, *class) > 0);
        let trained: Vec<_> = trained.map(|(_, name)| name).collect();
        let advice = "it takes rows with the label in `train`";
        untrained_warning(input, &found, &trained, advice)
    }
}

/// The labels that occur in a file.
fn labels_of(path: &Path) -> Result<BTreeSet<String>, StageError> {
    let mut lines = LineReader::open(path)?;
    let mut labels = BTreeSet::new();
    while let Some(example) = lines.next_json::<Example>()? {
        labels.extend(example.label.iter().flat_map(Target::labels).cloned());
    }
    Ok(labels)
}

//! A person's decisions on the examples that `audit` found, in a file of the project: one line of JSON for
//! each, which `clean` reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stages::StageError;
use stages::data::issue::{Decision, Issue};
use stages::data::lines::LineReader;

use crate::files::file_error::FileError;
use crate::files::scratch;

/// Why decisions cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error(transparent)]
    Row(#[from] StageError),
    #[error(transparent)]
    File(#[from] FileError),
}

impl ReviewError {
    pub fn hint(&self) -> Option<String> {
        match self {
            ReviewError::Row(error) => error.hint(),
            ReviewError::File(error) => error.hint().map(str::to_owned),
        }
    }
}

/// The issues to decide on, and the file of the decisions.
pub struct Review {
    /// As `audit` wrote them, with the decisions of the file that are about the same text and label.
    pub issues: Vec<Issue>,
    /// Labels that the issues know, in alphabetical order.
    pub labels: Vec<String>,
    file: PathBuf,
}

/// How many issues were decided in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    pub keep: usize,
    pub drop: usize,
    pub relabel: usize,
    pub open: usize,
}

impl Review {
    /// Reads the issues, and the decisions if their file exists.
    pub fn open(issues: &Path, decisions: &Path) -> Result<Review, ReviewError> {
        let mut issues = read(issues)?;
        let decided: BTreeMap<String, Issue> =
            existing(decisions)?.into_iter().map(|issue| (issue.id.clone(), issue)).collect();
        for issue in &mut issues {
            // A decision about another text or label is none about this one.
            let same = |it: &&Issue| {
                (it.label.is_none() || it.label == issue.label)
                    && (it.text.is_empty() || it.text == issue.text)
            };
            if let Some(found) = decided.get(&issue.id).filter(same) {
                issue.decision = found.decision;
                issue.to = found.to.clone();
            }
        }
        let named = |issue: &Issue| {
            let known = issue.probabilities.keys().cloned();
            known.chain(issue.label.clone()).collect::<Vec<_>>()
        };
        let mut labels: Vec<String> = issues.iter().flat_map(named).collect();
        labels.sort_unstable();
        labels.dedup();
        Ok(Review { issues, labels, file: decisions.to_owned() })
    }

    /// Decides on an issue and writes the file. It is read again before, so that a decision that was made
    /// elsewhere in the meantime stays. `None` takes the decision back.
    pub fn decide(
        &mut self,
        place: usize,
        decision: Option<Decision>,
        to: Option<String>,
    ) -> Result<(), ReviewError> {
        let issue = &mut self.issues[place];
        issue.decision = decision;
        issue.to = to;
        let mut rows = existing(&self.file)?;
        match (rows.iter_mut().find(|row| row.id == issue.id), decision) {
            (Some(row), Some(_)) => *row = issue.clone(),
            (None, Some(_)) => rows.push(issue.clone()),
            (_, None) => rows.retain(|row| row.id != issue.id),
        }
        let mut text = String::new();
        for row in &rows {
            text += &serde_json::to_string(row).unwrap_or_default();
            text.push('\n');
        }
        scratch::write_beside(&self.file, text.as_bytes())?;
        Ok(())
    }

    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for issue in &self.issues {
            *match issue.decision {
                Some(Decision::Keep) => &mut tally.keep,
                Some(Decision::Drop) => &mut tally.drop,
                Some(Decision::Relabel) => &mut tally.relabel,
                None => &mut tally.open,
            } += 1;
        }
        tally
    }
}

fn existing(file: &Path) -> Result<Vec<Issue>, ReviewError> {
    match file.try_exists().map_err(FileError::at("reading", file))? {
        true => read(file),
        false => Ok(Vec::new()),
    }
}

fn read(file: &Path) -> Result<Vec<Issue>, ReviewError> {
    let mut lines = LineReader::open(file)?;
    let mut rows = Vec::new();
    while let Some(row) = lines.next_json::<Issue>()? {
        rows.push(row);
    }
    Ok(rows)
}

//! Reads all rows of a file exactly as the stage `ingest` of the written pipeline will, so that what
//! `init` writes is what `run` takes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stages::builtin::ingest::files::InputFiles;
use stages::builtin::ingest::layout::Layout;
use stages::builtin::ingest::params::IngestParams;
use stages::builtin::ingest::rows::CheckedRows;
use stages::data::example::{Example, TextKey};
use stages::data::target::Target;
use stages::{Params, StageError};

/// Parameters of `ingest`, as the YAML gives them.
pub type Given = BTreeMap<&'static str, Value>;

/// What `ingest` makes of an input.
#[derive(Debug)]
pub struct Trial {
    /// Of the first file.
    pub layout: Layout,
    /// The rows that it takes, and those that it refuses.
    pub rows: u64,
    pub malformed: u64,
    pub first_problem: Option<StageError>,
    /// The rows that have a label, a list of them, or a number.
    pub labelled: u64,
    /// The rows of each label.
    pub labels: BTreeMap<String, u64>,
    /// How many different texts there are.
    pub texts: u64,
    /// What the conversations of each label begin with, [`ENOUGH`] of them at most.
    openings: BTreeMap<String, BTreeSet<u128>>,
}

/// How many conversations are enough to divide them into two parts.
const ENOUGH: usize = 10;

impl Trial {
    /// Whether conversations can stay together when the rows are divided, so that both parts have
    /// rows of more than one label.
    pub fn can_group_conversations(&self) -> bool {
        let all: BTreeSet<&u128> = self.openings.values().flatten().collect();
        let divisible = self.openings.values().filter(|openings| openings.len() > 1);
        all.len() >= ENOUGH && divisible.count() > 1
    }
}

/// Notes what the conversation of a row begins with: its first turn, or, without one, itself.
fn note_opening(openings: &mut BTreeMap<String, BTreeSet<u128>>, example: &Example) {
    let Some(label) = example.label.as_ref().and_then(Target::label) else { return };
    let turn = example.context.first().map(|turn| turn.trim()).filter(|turn| !turn.is_empty());
    let opening = match turn {
        Some(turn) => TextKey::new(turn, 0).text(),
        None => u128::from(example.line),
    };
    if !openings.contains_key(label) {
        openings.insert(label.to_owned(), BTreeSet::new());
    }
    if let Some(found) = openings.get_mut(label).filter(|found| found.len() < ENOUGH) {
        found.insert(opening);
    }
}

/// Reads files as the input `train` or `test`.
///
/// # Errors
/// A file cannot be read or lacks a required field, or there are no rows.
pub fn trial(files: &InputFiles, input: &str, given: &Given) -> Result<Trial, StageError> {
    let specs = stages::find("ingest").map_or(&[][..], |stage| stage.params());
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let params = Params::resolve(specs, &given).map_err(|errors| StageError::File {
        path: files.name.clone(),
        problem: errors.first().map(ToString::to_string).unwrap_or_default(),
    })?;
    let params = IngestParams::of(&params);
    let mut rows = CheckedRows::open(files, &params, input)?;
    let layout = rows.layout();
    let (mut malformed, mut first_problem, mut openings) = (0, None, BTreeMap::new());
    let (mut taken, mut labelled, mut labels) = (0, 0, BTreeMap::<String, u64>::new());
    while let Some(row) = rows.next_row()? {
        match row.example {
            Ok(example) => {
                taken += 1;
                labelled += u64::from(example.label.is_some());
                note_opening(&mut openings, &example);
                for label in example.label.iter().flat_map(Target::labels) {
                    *labels.entry(label.clone()).or_default() += 1;
                }
            }
            Err(problem) => {
                malformed += 1;
                first_problem.get_or_insert_with(|| rows.error(problem));
            }
        }
    }
    let texts = match rows.finish() {
        Ok((report, _)) => taken - report.duplicate_texts.rows + report.duplicate_texts.groups,
        Err(error) if taken + malformed == 0 => return Err(error),
        // The caller says in its own words why these rows are of no use.
        Err(_) => taken,
    };
    Ok(Trial { layout, rows: taken, malformed, first_problem, labelled, labels, texts, openings })
}

//! The result of `pipe verify`: repeated runs of one stage, compared with each other and with the
//! result in the store.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{FileDifference, Files, compare};
use crate::files::file_error::FileError;
use crate::store::key::Key;

/// The runs of one stage, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    pub stage: String,
    pub key: Key,
    /// Whether every comparison found the same bytes.
    pub stable: bool,
    /// The duration of each run.
    pub seconds: Vec<f64>,
    pub device: Option<String>,
    /// Whether there was a result in the store to compare with.
    pub cached: bool,
    pub comparisons: Vec<RunComparison>,
}

/// One run against another, or against the result in the store.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunComparison {
    /// Always `run 1`.
    pub first: String,
    /// `run 2`, `the cached result`.
    pub second: String,
    /// The files that differ, by output.
    pub differences: BTreeMap<String, Vec<FileDifference>>,
}

impl Verified {
    /// Compares the first run with another one, output by output, and adds the comparison.
    pub fn compare(
        &mut self,
        first: &BTreeMap<String, Files>,
        name: String,
        second: &BTreeMap<String, Files>,
    ) -> Result<(), FileError> {
        let (none, mut differences) = (Files::new(), BTreeMap::new());
        for (output, files) in first {
            let found = compare(files, second.get(output).unwrap_or(&none))?;
            if !found.is_empty() {
                differences.insert(output.clone(), found);
            }
        }
        self.stable &= differences.is_empty();
        self.comparisons.push(RunComparison {
            first: "run 1".to_owned(),
            second: name,
            differences,
        });
        Ok(())
    }
}

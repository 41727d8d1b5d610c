//! Reads runs of the log, and finds the one that a person means.

use std::fs;
use std::io;

use super::pick::{PickError, pick};
use super::{LoggedRun, RunLogError};
use crate::files::file_error::FileError;
use crate::files::regular;
use crate::run::event::Outcome;
use crate::store::Store;
use crate::store::obstacles::Obstacle;

/// The ids of all runs, oldest first.
pub fn ids(store: &Store) -> Result<Vec<String>, FileError> {
    let folder = store.runs_folder();
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(FileError::at("listing", &folder))?,
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(FileError::at("listing", &folder))?.file_name();
        ids.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::to_owned));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Reads the run with this id.
pub fn read(store: &Store, id: &str) -> Result<LoggedRun, RunLogError> {
    let file = store.run_file(id);
    if Obstacle::of_file(&file).is_some() {
        return Err(RunLogError::Damaged { id: id.to_owned() });
    }
    let bytes = regular::read(&file).map_err(FileError::at("reading", &file))?;
    let run = str::from_utf8(&bytes).ok().and_then(|text| LoggedRun::parse(text, id));
    run.ok_or_else(|| RunLogError::Damaged { id: id.to_owned() })
}

/// Finds the run that the user means by `name`.
pub fn find(store: &Store, name: &str) -> Result<LoggedRun, RunLogError> {
    let is_done = |run: &LoggedRun| {
        let failed = run.stages.iter().any(|stage| stage.outcome == Outcome::Failed);
        !failed && !run.interrupted
    };
    find_fitting(store, name, &is_done)
}

/// Finds the run that the user means by `name`. Of a branch it is the newest run that fits and is no
/// sweep, or else the newest.
pub fn find_fitting(
    store: &Store,
    name: &str,
    fits: &dyn Fn(&LoggedRun) -> bool,
) -> Result<LoggedRun, RunLogError> {
    let ids = ids(store)?;
    if ids.is_empty() {
        return Err(RunLogError::Empty);
    }
    match pick(&ids, name) {
        Err(PickError::Unknown { name }) => of_branch(store, &ids, &name, fits),
        picked => read(store, picked?),
    }
}

/// A run of a Git branch or commit.
fn of_branch(
    store: &Store,
    ids: &[String],
    name: &str,
    fits: &dyn Fn(&LoggedRun) -> bool,
) -> Result<LoggedRun, RunLogError> {
    let is_called = |run: &LoggedRun| run.git.as_ref().is_some_and(|git| git.is_called(name));
    let mut newest = None;
    for run in ids.iter().rev().filter_map(|id| read(store, id).ok()).filter(is_called) {
        if run.sweep.is_none() && fits(&run) {
            return Ok(run);
        }
        newest.get_or_insert(run);
    }
    newest.ok_or_else(|| PickError::Unknown { name: name.to_owned() }.into())
}

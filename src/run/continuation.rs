//! Continuing from a shorter run. A built-in stage may declare that a run with a larger value of
//! one parameter (`epochs`) continues a run with a smaller value ([`stages::Continuation`]). The
//! final state of such a run is kept beside the store's records, and a longer run starts from it.
//! This only saves time: if the state is missing or damaged, the stage computes the same bytes from
//! the beginning.
//!
//! ```text
//! cache/continuations/<family>/<value>/    the final state of the run with that value
//! ```
//!
//! A family is the key of a stage with that parameter removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stages::{Continuation, Params};

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::pipeline::Stage;
use crate::plan::key_of::params_of_key;
use crate::plan::reason::{Change, Reason};
use crate::store::Store;
use crate::store::key::{Key, KeyFields};

/// How many states are kept per family: those of the longest runs.
const KEPT: usize = 2;

/// The shorter run from whose state a stage starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shorter {
    pub parameter: &'static str,
    pub value: i64,
}

/// What runs that differ only in their length have in common.
struct Family {
    key: Key,
    parameter: &'static str,
    value: i64,
}

impl Family {
    /// `None` if a stage with these fields does not continue any other run.
    fn of(fields: &KeyFields) -> Option<Family> {
        let Continuation::By(parameter) = continuation(fields) else { return None };
        let mut common = fields.clone();
        let value = common.params.remove(parameter)?.as_i64()?;
        Some(Family { key: common.key(), parameter, value })
    }

    fn folder(&self, store: &Store) -> PathBuf {
        store.continuations_folder().join(self.key.to_string())
    }

    /// The values whose states are kept, ascending.
    fn values(&self, store: &Store) -> Vec<i64> {
        let entries = fs::read_dir(self.folder(store)).into_iter().flatten().flatten();
        let mut values: Vec<i64> =
            entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        values.sort_unstable();
        values
    }

    fn longest_shorter(&self, store: &Store) -> Option<i64> {
        self.values(store).into_iter().rfind(|value| *value < self.value)
    }
}

fn continuation(fields: &KeyFields) -> Continuation {
    match fields.action.builtin().and_then(stages::find) {
        Some(builtin) => {
            builtin.continuation(&Params::from_key(builtin.params(), fields.params.clone()))
        }
        None => Continuation::None,
    }
}

/// Puts the state of the longest shorter run into the state folder of a stage that is about to
/// start, unless the stage already has a state of its own.
pub fn offer(
    fields: &KeyFields,
    state: &Path,
    store: &Store,
) -> Result<Option<Shorter>, FileError> {
    let Some(family) = Family::of(fields) else { return Ok(None) };
    let begun = fs::read_dir(state).is_ok_and(|mut entries| entries.next().is_some());
    let Some(value) = family.longest_shorter(store).filter(|_| !begun) else { return Ok(None) };
    let from = family.folder(store).join(value.to_string());
    let lay = || -> io::Result<()> {
        disk::create_folders(state)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let (file, copy) = (entry.path(), state.join(entry.file_name()));
            // A stage replaces its state files and never writes into them, so two states can share
            // a file.
            if disk::hard_link(&file, &copy).is_err() {
                disk::copy(&file, &copy)?;
            }
        }
        Ok(())
    };
    lay().map_err(FileError::at("continuing from", &from))?;
    Ok(Some(Shorter { parameter: family.parameter, value }))
}

/// Called when a stage has been recorded: keeps its state for longer runs, or removes it.
pub fn settle(fields: &KeyFields, state: &Path, store: &Store) {
    // Errors are ignored: a leftover state costs only space, a missing one only time.
    if let Some(family) = Family::of(fields) {
        let folder = family.folder(store);
        let place = folder.join(family.value.to_string());
        let _ = disk::create_folders(&folder);
        let _ = disk::remove_folders(&place);
        let _ = disk::rename(state, &place);
        let values = family.values(store);
        for value in values.iter().rev().skip(KEPT) {
            let _ = disk::remove_folders(&folder.join(value.to_string()));
        }
    }
    let _ = disk::remove_folders(state);
}

/// The folder name of the family that a record with these fields belongs to.
pub fn family_name(fields: &KeyFields) -> Option<String> {
    Family::of(fields).map(|family| family.key.to_string())
}

/// For a stage that runs only because its length has changed: whether it continues from the shorter
/// run, or why not.
pub fn outlook(stage: &Stage, reason: &Reason, store: &Store) -> Option<String> {
    let Reason::Changed { changes, key, .. } = reason else { return None };
    let [Change::Param { name, from: Some(from), to: Some(to) }] = &changes[..] else {
        return None;
    };
    let (from, to) = (from.as_i64()?, to.as_i64()?);
    let mut fields = Arc::unwrap_or_clone(store.record(*key)?.fields);
    fields.params = params_of_key(stage);
    match continuation(&fields) {
        Continuation::None => None,
        Continuation::Not { parameter, why } if parameter == name && from < to => Some(format!(
            "starts from the beginning instead of continuing from `{name}: {from}`: {why}"
        )),
        Continuation::By(parameter) if parameter == name => {
            let shorter = Family::of(&fields)?.longest_shorter(store);
            Some(match shorter {
                Some(value) => format!("continues from the end of the run with `{name}: {value}`"),
                None => "starts from the beginning: no state of a shorter run was kept".to_owned(),
            })
        }
        Continuation::Not { .. } | Continuation::By(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::files::scratch::Scratch;
    use crate::pipeline::{Overrides, Pipeline};
    use crate::store::record::{Record, now_rfc3339};

    fn finetune(epochs: i64) -> Stage {
        let text = format!(
            "stages: {{finetune: {{inputs: {{model: m, train: t}}, \
             params: {{schedule: constant, epochs: {epochs}}}}}}}"
        );
        Pipeline::without_file(&text, &Overrides::default()).unwrap().stages.remove(0)
    }

    #[test]
    fn the_outlook_finds_the_state_that_a_shorter_run_left() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store.prepare().unwrap();
        let fields = KeyFields::of(&finetune(1), BTreeMap::new());
        let key = fields.key();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        settle(&fields, &state, &store);
        let record = Record {
            key,
            stage: "finetune".to_owned(),
            fields: fields.into(),
            outputs: BTreeMap::new(),
            metrics: BTreeMap::new(),
            history: Vec::new(),
            seconds: 0.0,
            device: None,
            machine: String::new(),
            threads: 1,
            when: now_rfc3339(),
            pipe: String::new(),
        };
        let scratch = Scratch::new(&folder.path().join("tmp")).unwrap();
        store.write_record(&record, &scratch, false).unwrap();
        let [from, to] = [Some(1.into()), Some(3.into())];
        let changes = vec![Change::Param { name: "epochs".to_owned(), from, to }];
        let reason = Reason::Changed { changes, since: String::new(), key };
        let outlook = outlook(&finetune(3), &reason, &store).unwrap();
        assert_eq!(outlook, "continues from the end of the run with `epochs: 1`");
    }
}

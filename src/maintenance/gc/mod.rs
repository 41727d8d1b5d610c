//! `cache gc`: which results are removed, and how. A result is a record with the objects that it
//! reaches. It is kept if it is a root (a result of the current pipeline), if a kept run used it, or
//! if it is as new as the kept runs. Objects that no kept record reaches are removed.
//!
//! A collection has exclusive use of the store (see [`crate::store::in_use`]). Records are removed
//! before the objects that they name, and reach the disk in this order: a collection that is
//! killed, or a power cut, leaves no record that names a missing object. Anything unknown is an
//! error before the first removal.

pub mod inventory;
mod leftovers;
pub mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::files::digest::Content;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::sync_folder;
use crate::results::run_log::LoggedRun;
use crate::store::Store;
use crate::store::key::Key;
use inventory::{Inventory, StoredRecord};
use leftovers::Leftover;

/// What to keep besides the roots.
#[derive(Clone, Debug, Default)]
pub struct Keep {
    /// Keep what this many last runs of the log used.
    pub last_runs: Option<usize>,
    /// Keep what runs since then used or made.
    pub since: Option<SystemTime>,
    /// If the kept objects take more bytes than this, remove the least recently used results as
    /// well, but never a root.
    pub most_bytes: Option<u64>,
    /// Keep damaged objects that are in quarantine.
    pub quarantine: bool,
}

/// What a collection removes and keeps.
pub struct Collection {
    pub totals: Totals,
    /// Keys of the removed results.
    pub removed: BTreeSet<Key>,
    pub removed_objects: BTreeSet<Content>,
    record_files: Vec<std::path::PathBuf>,
    leftovers: Vec<Leftover>,
}

/// A collection in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// By the stage that made the result; an object shared by several results counts for the newest.
    pub stages: BTreeMap<String, Share>,
    pub removed_results: usize,
    pub removed_objects: usize,
    pub removed_bytes: u64,
    pub kept_results: usize,
    pub kept_bytes: u64,
    /// Objects that no record names, for instance those of killed runs.
    pub unnamed_bytes: u64,
    /// Logs, checkpoints, notes and markers that nothing needs any more.
    pub leftovers: usize,
    pub leftover_bytes: u64,
    /// Kept in quarantine.
    pub quarantine_bytes: u64,
    /// By how many bytes the roots alone exceed the wanted size.
    pub over_bytes: u64,
}

/// The part of one stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    pub removed_results: usize,
    pub removed_bytes: u64,
    pub kept_results: usize,
    pub kept_bytes: u64,
}

/// Decides what to remove. `runs` is the whole log, oldest first. Writes nothing.
pub fn collect(
    inventory: &Inventory,
    roots: &BTreeSet<Key>,
    runs: &[LoggedRun],
    keep: &Keep,
    store: &Store,
) -> Result<Collection, FileError> {
    let since = since(runs, keep);
    let (mut kept, mut removed): (Vec<&StoredRecord>, Vec<&StoredRecord>) = {
        let used = used_since(runs, since);
        let stays = |stored: &&StoredRecord| {
            let key = stored.record.key;
            roots.contains(&key) || used.contains(&key) || stored.written >= since
        };
        inventory.records.iter().partition(stays)
    };
    let mut users: BTreeMap<Content, usize> = BTreeMap::new();
    for stored in &kept {
        for content in inventory.reached_by(&stored.record) {
            *users.entry(content).or_default() += 1;
        }
    }
    let mut kept_bytes: u64 = users.keys().map(|content| inventory.bytes(*content)).sum();
    if let Some(most) = keep.most_bytes {
        let last_used = last_used(runs);
        let mut candidates: Vec<&StoredRecord> =
            kept.iter().copied().filter(|s| !roots.contains(&s.record.key)).collect();
        candidates.sort_by_key(|stored| {
            let used = last_used.get(&stored.record.key).copied().unwrap_or(UNIX_EPOCH);
            (used.max(stored.written), stored.record.key)
        });
        let mut gone = BTreeSet::new();
        for stored in candidates {
            if kept_bytes <= most {
                break;
            }
            for content in inventory.reached_by(&stored.record) {
                let Some(count) = users.get_mut(&content) else { continue };
                *count -= 1;
                if *count == 0 {
                    users.remove(&content);
                    kept_bytes -= inventory.bytes(content);
                }
            }
            gone.insert(stored.record.key);
            removed.push(stored);
        }
        kept.retain(|stored| !gone.contains(&stored.record.key));
    }
    let removed_objects: BTreeSet<Content> =
        inventory.objects.keys().filter(|content| !users.contains_key(content)).copied().collect();
    let leftovers = leftovers::find(store, &kept, since, keep.quarantine)?;

    let mut totals = Totals { kept_bytes, ..Totals::default() };
    totals.over_bytes = kept_bytes.saturating_sub(keep.most_bytes.unwrap_or(u64::MAX));
    share_out(&mut totals, inventory, &kept, &removed, &removed_objects);
    totals.leftovers = leftovers.len();
    totals.leftover_bytes = leftovers.iter().map(|leftover| leftover.bytes).sum();
    if keep.quarantine {
        totals.quarantine_bytes = leftovers::bytes_below(&store.quarantine_folder())?;
    }
    let mut record_files = inventory.damaged_records.clone();
    record_files.extend(removed.iter().map(|stored| stored.file.clone()));
    Ok(Collection {
        totals,
        removed: removed.iter().map(|stored| stored.record.key).collect(),
        removed_objects,
        record_files,
        leftovers,
    })
}

/// The time since which everything is kept: the wanted time, or the start of the oldest run to
/// keep, whichever is earlier. So the results of a killed run, which is in no log, are kept with
/// the runs of its time.
fn since(runs: &[LoggedRun], keep: &Keep) -> SystemTime {
    let by_count = keep.last_runs.map(|last| match runs.len().checked_sub(last) {
        None | Some(0) => UNIX_EPOCH,
        Some(_) if last == 0 => SystemTime::now(),
        Some(older) => runs[older].began().unwrap_or(UNIX_EPOCH),
    });
    match (by_count, keep.since) {
        (Some(one), Some(other)) => one.min(other),
        (one, other) => one.or(other).unwrap_or(UNIX_EPOCH),
    }
}

fn used_since(runs: &[LoggedRun], since: SystemTime) -> BTreeSet<Key> {
    let kept = runs.iter().filter(|run| run.began().is_none_or(|began| began >= since));
    kept.flat_map(|run| run.stages.iter().filter_map(|stage| stage.key)).collect()
}

fn last_used(runs: &[LoggedRun]) -> BTreeMap<Key, SystemTime> {
    let mut last = BTreeMap::new();
    for run in runs {
        let Some(began) = run.began() else { continue };
        last.extend(run.stages.iter().filter_map(|stage| Some((stage.key?, began))));
    }
    last
}

/// Counts kept and removed results and bytes, by stage.
fn share_out(
    totals: &mut Totals,
    inventory: &Inventory,
    kept: &[&StoredRecord],
    removed: &[&StoredRecord],
    removed_objects: &BTreeSet<Content>,
) {
    let mut counted = BTreeSet::new();
    for (stays, stored) in
        kept.iter().map(|stored| (true, stored)).chain(removed.iter().map(|stored| (false, stored)))
    {
        let share = totals.stages.entry(stored.record.stage.clone()).or_default();
        let reached = inventory.reached_by(&stored.record);
        let new = reached.into_iter().filter(|content| counted.insert(*content));
        let bytes = new.map(|content| inventory.bytes(content)).sum::<u64>();
        if stays {
            share.kept_results += 1;
            share.kept_bytes += bytes;
            totals.kept_results += 1;
        } else {
            share.removed_results += 1;
            share.removed_bytes += bytes;
            totals.removed_results += 1;
        }
    }
    totals.removed_objects = removed_objects.len();
    totals.removed_bytes = removed_objects.iter().map(|content| inventory.bytes(*content)).sum();
    let unnamed = removed_objects.difference(&counted);
    totals.unnamed_bytes = unnamed.map(|content| inventory.bytes(*content)).sum();
}

impl Collection {
    /// Removes everything in the collection. The caller has exclusive use of the store.
    pub fn carry_out(&self, store: &Store) -> Result<(), FileError> {
        let mut folders = BTreeSet::new();
        for file in &self.record_files {
            remove_file(file)?;
            folders.extend(file.parent().map(Path::to_owned));
        }
        for folder in folders {
            // Any file name does: the folder that holds it is synced.
            sync_folder(&folder.join("record"))?;
        }
        for leftover in &self.leftovers {
            leftover.remove()?;
        }
        for content in &self.removed_objects {
            remove_file(&store.object(*content))?;
        }
        Ok(())
    }
}

fn remove_file(file: &Path) -> Result<(), FileError> {
    match disk::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::at("removing", file)(error))
        }
        _ => Ok(()),
    }
}

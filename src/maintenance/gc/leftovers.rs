//! Small files beside the results that nothing needs any more: markers, logs, checkpoints, states
//! from which longer runs could continue, interrupted downloads, notes about published files and,
//! if wanted, quarantined objects. Checkpoints of an unfinished stage are kept as long as results
//! of their age.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::regular::read_text;
use crate::files::scratch::{is_of_this_host, is_scratch};
use crate::maintenance::gc::inventory::{StoredRecord, entries};
use crate::run::continuation;
use crate::store::Store;
use crate::store::key::Key;

/// A file or a folder that nothing needs.
pub struct Leftover {
    path: PathBuf,
    pub bytes: u64,
}

/// Finds the leftovers, given the records that are kept. What is not older than `since` is kept.
pub fn find(
    store: &Store,
    records: &[&StoredRecord],
    since: SystemTime,
    keep_quarantine: bool,
) -> Result<Vec<Leftover>, FileError> {
    let kept: BTreeSet<Key> = records.iter().map(|stored| stored.record.key).collect();
    let mut found = Vec::new();
    found.extend(markers(store, &kept)?);
    found.extend(logs(store, &kept, since)?);
    found.extend(unfinished_work(store, &kept, since)?);
    found.extend(continuations(store, records)?);
    found.extend(listings(store, records, since)?);
    found.extend(notes(store)?);
    if !keep_quarantine {
        found.extend(entries(&store.quarantine_folder())?);
    }
    let leftover = |path: PathBuf| Ok(Leftover { bytes: bytes_below(&path)?, path });
    found.into_iter().map(leftover).collect()
}

/// Markers of results that go.
fn markers(store: &Store, kept: &BTreeSet<Key>) -> Result<Vec<PathBuf>, FileError> {
    let markers = entries_of_folders(&store.markers_folder())?;
    let goes = |marker: &Path| name(marker).parse().is_ok_and(|key| !kept.contains(&key));
    Ok(markers.into_iter().filter(|marker| goes(marker)).collect())
}

/// Logs of results that go. The log of a failed stage has no record: it is kept as long as results
/// of its age.
fn logs(store: &Store, kept: &BTreeSet<Key>, since: SystemTime) -> Result<Vec<PathBuf>, FileError> {
    let logged: BTreeSet<String> = kept.iter().map(Key::short).collect();
    let mut logs = entries_of_folders(&store.logs_folder())?;
    logs.retain(|log| !logged.contains(name(log).split('.').next().unwrap_or_default()));
    older(logs, since)
}

/// Checkpoints and cluster jobs of stages that have finished or are too old, downloads from a
/// remote that nobody has resumed, and scratch folders of other hosts. (A run removes those of its
/// own host.)
fn unfinished_work(
    store: &Store,
    kept: &BTreeSet<Key>,
    since: SystemTime,
) -> Result<Vec<PathBuf>, FileError> {
    let mut work = entries(&store.states_folder())?;
    work.extend(entries(&store.jobs_folder())?);
    let is_finished = |path: &Path| name(path).parse().is_ok_and(|key| kept.contains(&key));
    let (mut found, mut others): (Vec<_>, Vec<_>) =
        work.into_iter().partition(|path| is_finished(path));
    others.extend(entries(&store.partial_folder())?);
    let scratch = entries(&store.scratch_folder())?;
    let elsewhere = |folder: &PathBuf| is_scratch(folder) && !is_of_this_host(folder);
    others.extend(scratch.into_iter().filter(elsewhere));
    found.extend(older(others, since)?);
    Ok(found)
}

/// States from which a longer run could continue: each is kept as long as a result of its family.
fn continuations(store: &Store, records: &[&StoredRecord]) -> Result<Vec<PathBuf>, FileError> {
    let families: BTreeSet<String> = records
        .iter()
        .filter_map(|stored| continuation::family_name(&stored.record.fields))
        .collect();
    let states = entries(&store.continuations_folder())?;
    Ok(states.into_iter().filter(|family| !families.contains(name(family))).collect())
}

/// Listings of source folders that no kept record has read.
fn listings(
    store: &Store,
    records: &[&StoredRecord],
    since: SystemTime,
) -> Result<Vec<PathBuf>, FileError> {
    let read: BTreeSet<String> = records
        .iter()
        .flat_map(|stored| stored.record.fields.inputs.values())
        .map(|content| content.digest.to_string())
        .collect();
    let mut listings = entries_of_folders(&store.listings_folder())?;
    listings.retain(|listing| !read.contains(name(listing)));
    older(listings, since)
}

/// Notes about published files that are gone. The second line of a note is the path; a path that
/// is not UTF-8 or spans two lines is left alone.
fn notes(store: &Store) -> Result<Vec<PathBuf>, FileError> {
    let mut notes = entries(&store.notes_folder())?;
    notes.retain(|note| {
        let text = read_text(note).unwrap_or_default();
        let target = text.split_once('\n').and_then(|(_, rest)| rest.strip_suffix('\n'));
        target
            .map(Path::new)
            .is_some_and(|target| store.published_note(target) == *note && is_gone(target))
    });
    Ok(notes)
}

/// The entries of all folders in a folder.
fn entries_of_folders(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut found = Vec::new();
    for folder in entries(folder)? {
        found.extend(entries(&folder)?);
    }
    Ok(found)
}

/// Those in which nothing was written since that time.
fn older(paths: Vec<PathBuf>, since: SystemTime) -> Result<Vec<PathBuf>, FileError> {
    let mut found = Vec::new();
    for path in paths {
        if newest(&path)? < since {
            found.push(path);
        }
    }
    Ok(found)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Whether a file was removed, rather than being out of reach: while a disk is not mounted, the
/// file's folder is missing too.
fn is_gone(target: &Path) -> bool {
    let there = |path: &Path| path.symlink_metadata().map(drop);
    let missing = there(target).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    missing && target.parent().is_some_and(|folder| there(folder).is_ok())
}

/// The size in bytes of a file, or of all files below a folder.
pub fn bytes_below(path: &Path) -> Result<u64, FileError> {
    let Some(metadata) = metadata(path)? else { return Ok(0) };
    if !metadata.is_dir() {
        return Ok(metadata.size());
    }
    entries_if_allowed(path)?.iter().map(|entry| bytes_below(entry)).sum()
}

/// The entries of a folder that a stage may have closed to its owner; then they are not known.
fn entries_if_allowed(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    match entries(folder) {
        Err(error) if error.source.kind() == io::ErrorKind::PermissionDenied => Ok(Vec::new()),
        other => other,
    }
}

/// When a file, or anything below a folder, was last written.
fn newest(path: &Path) -> Result<SystemTime, FileError> {
    let Some(metadata) = metadata(path)? else { return Ok(UNIX_EPOCH) };
    let mut time = metadata.modified().map_err(FileError::at("reading", path))?;
    if metadata.is_dir() {
        for entry in entries_if_allowed(path)? {
            time = time.max(newest(&entry)?);
        }
    }
    Ok(time)
}

fn metadata(path: &Path) -> Result<Option<fs::Metadata>, FileError> {
    match path.symlink_metadata() {
        // Its folder may be closed to its owner.
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied]
                .contains(&error.kind()) =>
        {
            Ok(None)
        }
        other => other.map(Some).map_err(FileError::at("reading", path)),
    }
}

impl Leftover {
    pub fn remove(&self) -> Result<(), FileError> {
        let removed = match metadata(&self.path)? {
            None => Ok(()),
            Some(metadata) if metadata.is_dir() => disk::remove_folders(&self.path),
            Some(_) => disk::remove_file(&self.path),
        };
        removed.map_err(FileError::at("removing", &self.path))?;
        // The folder of the stage is removed with its last entry, and only then.
        if let Some(folder) = self.path.parent() {
            let _ = disk::remove_folder(folder);
        }
        Ok(())
    }
}

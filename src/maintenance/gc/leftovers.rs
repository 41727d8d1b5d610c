//! The small files beside the results that belong to nothing any more: markers, logs, checkpoints,
//! states that longer runs go on from, downloads from a remote broken off, notes about published files, and, if wanted, what was put
//! into quarantine. Checkpoints of a stage that has not finished are kept as long as results of
//! their age are.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::is_of_this_host;
use crate::maintenance::gc::inventory::{StoredRecord, entries};
use crate::run::continuation;
use crate::store::Store;
use crate::store::key::Key;

/// A file or a folder that nobody needs.
pub struct Leftover {
    path: PathBuf,
    pub bytes: u64,
}

/// `records` are those that stay; `since` is from when on everything stays.
pub fn find(
    store: &Store,
    records: &[&StoredRecord],
    since: SystemTime,
    keep_quarantine: bool,
) -> Result<Vec<Leftover>, FileError> {
    let kept: BTreeSet<Key> = records.iter().map(|stored| stored.record.key).collect();
    let mut found = Vec::new();
    let mut add = |path: PathBuf| -> Result<(), FileError> {
        let bytes = bytes_below(&path)?;
        found.push(Leftover { path, bytes });
        Ok(())
    };
    for stage in entries(&store.markers_folder())? {
        for marker in entries(&stage)? {
            let key = name(&marker).parse::<Key>();
            if key.is_ok_and(|key| !kept.contains(&key)) {
                add(marker)?;
            }
        }
    }
    // A log of a failed stage has no record; it stays as long as results of its age.
    let logged: BTreeSet<String> = kept.iter().map(Key::short).collect();
    for stage in entries(&store.logs_folder())? {
        for log in entries(&stage)? {
            let key = name(&log).split('.').next().unwrap_or_default().to_owned();
            if !logged.contains(&key) && newest(&log)? < since {
                add(log)?;
            }
        }
    }
    for state in entries(&store.states_folder())? {
        let finished = name(&state).parse::<Key>().is_ok_and(|key| kept.contains(&key));
        if finished || newest(&state)? < since {
            add(state)?;
        }
    }
    // A download that nobody has gone on with.
    for partial in entries(&store.partial_folder())? {
        if newest(&partial)? < since {
            add(partial)?;
        }
    }
    // A stage that was left to a scheduler by an engine that is gone.
    for job in entries(&store.jobs_folder())? {
        let finished = name(&job).parse::<Key>().is_ok_and(|key| kept.contains(&key));
        if finished || newest(&job)? < since {
            add(job)?;
        }
    }
    // Runs remove what is left of other runs of their machine only.
    for folder in entries(&store.scratch_folder())? {
        if !is_of_this_host(&folder) && newest(&folder)? < since {
            add(folder)?;
        }
    }
    // A state that a longer run could go on from stays as long as a result of its family.
    let families: BTreeSet<String> = records
        .iter()
        .filter_map(|stored| continuation::family_name(&stored.record.fields))
        .collect();
    for family in entries(&store.continuations_folder())? {
        if !families.contains(name(&family)) {
            add(family)?;
        }
    }
    let read: BTreeSet<String> = records
        .iter()
        .flat_map(|stored| stored.record.fields.inputs.values())
        .map(|content| content.digest.to_string())
        .collect();
    for folder in entries(&store.listings_folder())? {
        for listing in entries(&folder)? {
            if !read.contains(name(&listing)) && newest(&listing)? < since {
                add(listing)?;
            }
        }
    }
    for note in entries(&store.notes_folder())? {
        // Its second line is the path; one that is not UTF-8 or has two lines is left alone.
        let text = fs::read_to_string(&note).unwrap_or_default();
        let target = text.split_once('\n').and_then(|(_, rest)| rest.strip_suffix('\n'));
        let of_it = |target: &&str| store.published_note(Path::new(target)) == note;
        if let Some(target) = target.filter(of_it)
            && is_gone(Path::new(target))
        {
            add(note)?;
        }
    }
    if !keep_quarantine {
        for object in entries(&store.quarantine_folder())? {
            add(object)?;
        }
    }
    Ok(found)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Not merely out of reach: a disk may be unmounted for now, so its folder must be there.
fn is_gone(target: &Path) -> bool {
    let there = |path: &Path| path.symlink_metadata().map(drop);
    let missing = there(target).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    missing && target.parent().is_some_and(|folder| there(folder).is_ok())
}

/// The bytes of a file, or of all files of a folder.
pub fn bytes_below(path: &Path) -> Result<u64, FileError> {
    let Some(metadata) = metadata(path)? else { return Ok(0) };
    if !metadata.is_dir() {
        return Ok(metadata.size());
    }
    entries(path)?.iter().map(|entry| bytes_below(entry)).sum()
}

/// When something in it was last written.
fn newest(path: &Path) -> Result<SystemTime, FileError> {
    let Some(metadata) = metadata(path)? else { return Ok(UNIX_EPOCH) };
    let mut time = metadata.modified().map_err(FileError::at("reading", path))?;
    if metadata.is_dir() {
        for entry in entries(path)? {
            time = time.max(newest(&entry)?);
        }
    }
    Ok(time)
}

fn metadata(path: &Path) -> Result<Option<fs::Metadata>, FileError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
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
        // The stage's folder goes with the last that it held, and only then.
        if let Some(folder) = self.path.parent() {
            let _ = disk::remove_folder(folder);
        }
        Ok(())
    }
}

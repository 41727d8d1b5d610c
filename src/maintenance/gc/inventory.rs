//! The contents of the store, read once: records, objects with their sizes, and the objects that
//! each record reaches. Anything that cannot be read, other than a damaged file, is an error:
//! nothing unknown may be removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use stages::Kind;

use crate::files::digest::{Content, Digest};
use crate::files::file_error::FileError;
use crate::files::regular;
use crate::files::tree::{Tree, TreeFile};
use crate::store::Store;
use crate::store::key::Key;
use crate::store::obstacles::Obstacle;
use crate::store::record::{Artifact, Record, is_whole};

/// What the store holds.
pub struct Inventory {
    /// Newest first.
    pub records: Vec<StoredRecord>,
    pub damaged_records: Vec<PathBuf>,
    /// What stands in the place of an object, a record, a run's log or a folder. Sorted.
    pub obstacles: Vec<Obstacle>,
    /// Records that cannot be read.
    pub unreadable: Vec<Obstacle>,
    /// Every object with its size in bytes.
    pub objects: BTreeMap<Content, u64>,
    trees: BTreeMap<Digest, Tree>,
}

/// A record and when it was written.
pub struct StoredRecord {
    pub record: Record,
    pub file: PathBuf,
    pub written: SystemTime,
}

impl Inventory {
    /// Refuses a store with records that cannot be read: what they need is not known, so nothing may
    /// be removed.
    pub fn check_readable(&self) -> Result<(), FileError> {
        let Some(Obstacle { path, problem }) = self.unreadable.first() else { return Ok(()) };
        let problem = format!("{problem}; `pipe cache verify --repair` moves it to quarantine");
        Err(FileError::found("reading", path, &problem))
    }

    pub fn read(store: &Store) -> Result<Inventory, FileError> {
        let mut records = Vec::new();
        let mut damaged_records = Vec::new();
        let (mut obstacles, mut unreadable) = (obstacles(store)?, Vec::new());
        let is_blocked: BTreeSet<PathBuf> =
            obstacles.iter().map(|obstacle| obstacle.path.clone()).collect();
        for (key, file) in record_files(store)? {
            if is_blocked.contains(&file) {
                continue;
            }
            match read_record(&file, key) {
                Ok(Some(record)) => records.push(record),
                Ok(None) => damaged_records.push(file),
                Err(error) if error.source.kind() == io::ErrorKind::Unsupported => {
                    return Err(error);
                }
                Err(error) => {
                    unreadable.push(Obstacle { path: file, problem: error.source.to_string() });
                }
            }
        }
        records.sort_by(|a, b| (b.written, a.record.key).cmp(&(a.written, b.record.key)));
        let objects = object_files(store)?;
        let folders = objects.keys().filter(|content| content.kind == Kind::Folder);
        let folders: Vec<Content> = folders.copied().collect();
        let read = |content: Content| {
            let object = store.object(content);
            // One that cannot be read is found when it is verified.
            let bytes = regular::read(&object).unwrap_or_default();
            let whole = Digest::of_bytes(&bytes) == content.digest;
            let text = str::from_utf8(&bytes).ok().filter(|_| whole);
            Ok(text.and_then(Tree::parse).map(|tree| (content.digest, tree)))
        };
        let trees: Result<Vec<_>, FileError> = folders.into_par_iter().map(read).collect();
        let trees = trees?.into_iter().flatten().collect();
        obstacles.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Inventory { records, damaged_records, obstacles, unreadable, objects, trees })
    }

    /// The objects of an artifact: the file, or the listing and the files that it names, whether
    /// or not they are in the store.
    pub fn reached(&self, artifact: &Artifact) -> Vec<Content> {
        let mut reached = vec![artifact.content];
        if artifact.content.kind == Kind::Folder
            && let Some(tree) = self.trees.get(&artifact.content.digest)
        {
            reached.extend(tree.files.values().map(TreeFile::content));
        }
        reached
    }

    /// The objects of all outputs of a record.
    pub fn reached_by(&self, record: &Record) -> BTreeSet<Content> {
        record.outputs.values().flat_map(|artifact| self.reached(artifact)).collect()
    }

    /// The size of an object in bytes; 0 if it is not in the store.
    pub fn bytes(&self, content: Content) -> u64 {
        self.objects.get(&content).copied().unwrap_or(0)
    }
}

/// What stands in the place of the store's folders, and of its objects, records and logs of runs.
fn obstacles(store: &Store) -> Result<Vec<Obstacle>, FileError> {
    let mut found = store.blocked_folders();
    for folder in [store.objects_folder(), store.records_folder()] {
        for folder in entries(&folder)? {
            found.extend(Obstacle::of_folder(&folder));
            found.extend(entries(&folder)?.iter().filter_map(|file| Obstacle::of_file(file)));
        }
    }
    found.extend(entries(&store.runs_folder())?.iter().filter_map(|file| Obstacle::of_file(file)));
    Ok(found)
}

/// The files of all records, by key.
pub fn record_files(store: &Store) -> Result<Vec<(Key, PathBuf)>, FileError> {
    let mut files = Vec::new();
    for folder in entries(&store.records_folder())? {
        for file in entries(&folder)? {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let key = name.strip_suffix(".json").and_then(|key| key.parse().ok());
            files.extend(key.map(|key| (key, file.clone())));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Every object in the store with its size in bytes.
pub fn object_files(store: &Store) -> Result<BTreeMap<Content, u64>, FileError> {
    let mut objects = BTreeMap::new();
    for folder in entries(&store.objects_folder())? {
        for file in entries(&folder)? {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(content) = Store::content_of_object(name) else { continue };
            // A link that leads nowhere has no size; `obstacles` has it.
            objects.insert(content, fs::metadata(&file).map_or(0, |metadata| metadata.size()));
        }
    }
    Ok(objects)
}

/// Reads one record; `None` if it is damaged.
fn read_record(file: &Path, key: Key) -> Result<Option<StoredRecord>, FileError> {
    let bytes = regular::read(file).map_err(FileError::at("reading", file))?;
    let Ok(text) = str::from_utf8(&bytes) else { return Ok(None) };
    let Some(record) = Record::parse(text, key) else {
        if is_whole(text) {
            let problem =
                "another version of `pipe` wrote it, so the objects that it names are unknown";
            let error = io::Error::new(io::ErrorKind::Unsupported, problem);
            return Err(FileError::at("reading", file)(error));
        }
        return Ok(None);
    };
    let modified = fs::metadata(file).and_then(|metadata| metadata.modified());
    let modified = modified.map_err(FileError::at("reading", file))?;
    // After a copy of the store the file is newer than the record; after the clock was set back,
    // older.
    let written = humantime::parse_rfc3339(&record.when).unwrap_or(UNIX_EPOCH).max(modified);
    Ok(Some(StoredRecord { record, file: file.to_owned(), written }))
}

/// The entries of a folder, sorted; empty if there is no folder of that name.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let listed = match fs::read_dir(folder) {
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Ok(Vec::new());
        }
        other => other.map_err(FileError::at("listing", folder))?,
    };
    let paths: io::Result<Vec<PathBuf>> = listed.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(FileError::at("listing", folder))?;
    paths.sort_unstable();
    Ok(paths)
}

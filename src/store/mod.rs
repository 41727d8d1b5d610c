//! The store: objects under their digest, records under their key, and small files beside them;
//! `layout.rs` lists them all. Reading creates no folder and takes no lock. Every write goes
//! through a [`Scratch`] folder and ends in a rename.

mod bundle;
mod families;
pub mod in_use;
pub mod index;
pub mod intact;
pub mod key;
mod layout;
pub mod obstacles;
pub mod record;
mod records;
pub mod settled;

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use stages::Kind;

use crate::files::digest::{Content, Digest};
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::lock::{Lock, is_open_for_writing, remove_free_locks};
use crate::files::regular::{is_executable, not_a_file, read_text};
use crate::files::scratch::{Scratch, rename_into, rename_to_new, sync_folder};
use crate::files::tree::{Tree, TreeFile, files_below};
use crate::store::bundle::Bundle;
use crate::store::families::Families;
use crate::store::key::Key;
use crate::store::record::{Artifact, Record};

/// A store, by the path of its folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    families: Arc<Families>,
    bundle: Arc<Bundle>,
}

impl Store {
    /// Reads nothing and creates nothing.
    pub fn new(root: &Path) -> Store {
        Store { root: root.to_owned(), families: Arc::default(), bundle: Arc::default() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates the store's folder if necessary.
    pub fn prepare(&self) -> Result<(), FileError> {
        match self.root.is_dir() {
            true => Ok(()),
            false => disk::create_folders(&self.root)
                .map_err(FileError::in_store("making the store", &self.root)),
        }
    }

    /// Hides the store from git by a `.gitignore` of its own.
    pub fn hide(&self, scratch: &Scratch) -> Result<(), FileError> {
        let ignore = self.root.join(".gitignore");
        match ignore.exists() {
            true => Ok(()),
            false => scratch.write(&ignore, b"*\n!.gitignore\n", false),
        }
    }

    /// Removes locks that nobody holds, and the checkpoints of stages whose record has been
    /// written. A run does the latter itself after it writes the record, unless it is killed in
    /// between.
    pub fn remove_leftovers(&self) {
        for entry in fs::read_dir(self.states_folder()).into_iter().flatten().flatten() {
            let key = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A forced run of the key may be using its checkpoints.
            let lock = |key| Lock::try_acquire(&self.lock_file(key)).ok().flatten();
            if let Some(key) = key.filter(|key| self.record(*key).is_some())
                && let Some(_lock) = lock(key)
            {
                let _ = disk::remove_folders(&entry.path());
            }
        }
        remove_free_locks(&self.locks_folder());
    }

    /// Writes a record. Everything that it names must be in the store already. `durable` is as
    /// for [`Store::insert`].
    pub fn write_record(
        &self,
        record: &Record,
        scratch: &Scratch,
        durable: bool,
    ) -> Result<(), FileError> {
        let file = self.record_file(record.key);
        let text = record.to_text();
        let text = text.map_err(|error| FileError::in_store("writing", &file)(error.into()))?;
        self.make_way(&file, || scratch.write(&file, text.as_bytes(), durable))
    }

    /// Marks that a stage of this name has had this key, so that a later run can say what differs
    /// from this one.
    pub fn mark_stage(&self, stage: &str, key: Key) -> Result<(), FileError> {
        let marker = self.stage_markers_folder(stage).join(key.to_string());
        // The time of the marker orders the stage's records. Most runs find it there.
        let now = std::time::SystemTime::now();
        if disk::set_modified_at(&marker, now).is_ok() {
            return Ok(());
        }
        let mark = || match disk::create_file(&marker) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                marker.parent().map_or(Ok(()), disk::create_folders)?;
                disk::create_file(&marker)
            }
            other => other,
        };
        mark()
            .and_then(|file| disk::set_modified(&file, now, &marker))
            .map_err(FileError::in_store("writing", &marker))
    }

    /// The records of a stage and its variants, newest first. They are read once per process.
    pub fn records_of_family(&self, family: &str) -> Arc<Vec<Record>> {
        /// How many records to keep in memory.
        const KEPT: usize = 64;
        self.families.records(family, || self.records_of_stage(family, KEPT))
    }

    /// The `limit` newest records that a stage of this name has had, newest first.
    pub fn records_of_stage(&self, stage: &str, limit: usize) -> Vec<Record> {
        let Ok(entries) = fs::read_dir(self.stage_markers_folder(stage)) else { return Vec::new() };
        let mut markers: Vec<_> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let key: Key = entry.file_name().to_str()?.parse().ok()?;
                Some((entry.metadata().ok()?.modified().ok()?, key))
            })
            .collect();
        markers.sort_unstable_by_key(|(modified, key)| (std::cmp::Reverse(*modified), *key));
        let records = markers.into_iter().filter_map(|(_, key)| self.record(key));
        records.take(limit).collect()
    }

    /// All records, in no particular order. Damaged ones are left out.
    pub fn records(&self) -> Vec<Record> {
        let folders = fs::read_dir(self.records_folder()).into_iter().flatten().flatten();
        let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten();
        let keys = files
            .flatten()
            .filter_map(|file| file.file_name().to_str()?.strip_suffix(".json")?.parse().ok());
        keys.filter_map(|key| self.record(key)).collect()
    }

    /// The listing of a folder; `None` if it is missing or damaged.
    pub fn tree(&self, folder: Content) -> Option<Tree> {
        let text = read_text(&self.object(folder)).ok()?;
        (Digest::of_bytes(text.as_bytes()) == folder.digest).then(|| Tree::parse(&text))?
    }

    /// Whether an artifact is there in full. This compares sizes only; [`Store::verify`] reads the
    /// bytes before they are used.
    pub fn holds(&self, artifact: &Artifact) -> bool {
        let is_there = |content: Content, bytes: u64| {
            let metadata = fs::metadata(self.object(content));
            metadata.is_ok_and(|metadata| metadata.is_file() && metadata.size() == bytes)
        };
        match artifact.content.kind {
            Kind::File => is_there(artifact.content, artifact.bytes),
            Kind::Folder => self.tree(artifact.content).is_some_and(|tree| {
                tree.files.values().all(|file| is_there(file.content(), file.bytes))
            }),
        }
    }

    /// Moves a finished output into the store and returns its digest and size. With `durable`, the
    /// object survives a power cut. Without, a power cut may truncate it, which its size shows.
    pub fn insert(
        &self,
        path: &Path,
        scratch: &Scratch,
        durable: bool,
    ) -> Result<Artifact, FileError> {
        let metadata = fs::metadata(path).map_err(FileError::in_store("reading", path))?;
        if metadata.is_file() {
            let linked = path.is_symlink();
            let file = self.insert_file(path, linked, scratch, durable)?;
            return Ok(Artifact { content: file.content(), bytes: file.bytes });
        }
        if !metadata.is_dir() {
            return Err(FileError::in_store("storing", path)(not_a_file(metadata.file_type())));
        }
        // A link to nothing is not left out, as it is in a source: this is the result.
        let found = files_below(path)?.without_dangling()?;
        let stored: Result<_, FileError> = found
            .files
            .into_par_iter()
            .map(|file| {
                let stored = self.insert_file(&file.path, file.linked, scratch, durable)?;
                Ok((file.relative, stored))
            })
            .collect();
        let tree = Tree { files: stored?, empty_folders: found.empty_folders };
        let content = tree.content();
        let temporary = scratch.path()?;
        disk::write_new(&temporary, tree.to_text().as_bytes())
            .map_err(FileError::in_store("writing", &temporary))?;
        self.place(&temporary, content, durable)?;
        Ok(Artifact { content, bytes: tree.bytes() })
    }

    fn insert_file(
        &self,
        path: &Path,
        linked: bool,
        scratch: &Scratch,
        durable: bool,
    ) -> Result<TreeFile, FileError> {
        let metadata = fs::metadata(path).map_err(FileError::in_store("reading", path))?;
        if !metadata.is_file() {
            return Err(FileError::in_store("storing", path)(not_a_file(metadata.file_type())));
        }
        let executable = is_executable(path, &metadata);
        // Somebody else may write to the target of a symbolic or hard link later, or to a file that
        // they have open, so copy its bytes. Move everything else.
        let temporary = scratch.path()?;
        let digest = if linked || metadata.nlink() > 1 || is_open_for_writing(path) {
            Digest::of_copy(path, &temporary)?
        } else {
            disk::rename(path, &temporary).map_err(FileError::in_store("moving", path))?;
            Digest::of_file(&temporary)?
        };
        let metadata =
            fs::metadata(&temporary).map_err(FileError::in_store("reading", &temporary))?;
        let file = TreeFile { digest, bytes: metadata.size(), executable };
        self.place(&temporary, file.content(), durable)?;
        Ok(file)
    }

    /// Gives a finished file its name as an object. An intact object of that name stays in place: a
    /// stage may be reading it, and programs such as `cp` fail when their source is replaced.
    pub(crate) fn place(
        &self,
        temporary: &Path,
        content: Content,
        durable: bool,
    ) -> Result<(), FileError> {
        let object = &self.object(content);
        disk::set_permissions(temporary, permissions(content))
            .map_err(FileError::in_store("storing", temporary))?;
        if durable {
            let flush = File::open(temporary).and_then(|file| disk::flush(&file, temporary));
            flush.map_err(FileError::in_store("flushing", temporary))?;
        }
        let storing = || FileError::in_store("storing", object);
        let rename = || rename_to_new(temporary, object).map_err(storing());
        if !self.make_way(object, rename)? {
            if Digest::of_file(object).is_ok_and(|found| found == content.digest) {
                self.restore_permissions(content)?;
                disk::remove_file(temporary).map_err(FileError::in_store("removing", temporary))?;
                if durable {
                    let flush = File::open(object).and_then(|file| disk::flush(&file, object));
                    flush.map_err(FileError::in_store("flushing", object))?;
                }
            } else {
                self.make_way(object, || rename_into(temporary, object).map_err(storing()))?;
            }
        }
        if durable { sync_folder(object) } else { Ok(()) }
    }
}

/// An object can be read and, if it is an executable file, executed.
fn permissions(content: Content) -> Permissions {
    Permissions::from_mode(if content.executable { 0o555 } else { 0o444 })
}

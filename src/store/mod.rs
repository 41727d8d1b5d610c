//! The store: objects by digest, records by key, and the small files beside them. Reading makes
//! no folder and takes no lock; all writing goes through a [`Scratch`] folder and ends in a
//! rename.
//!
//! ```text
//! cache/objects/ab/<digest>        a file, read-only
//! cache/objects/ab/<digest>.tree   a folder's listing
//! cache/records/ab/<key>.json      what a run of that key produced
//! cache/stages/<stage>/<key>       empty: this stage, or a variant of it, once had that key
//! cache/published/<digest>         what was last copied to a path in the tree
//! cache/logs/<stage>/<key>.log     what the stage's process printed
//! cache/state/<key>/               a stage's own checkpoints, until its record is written
//! cache/continuations/…            states that longer runs go on from
//! cache/jobs/<key>/                a stage that a scheduler runs, until its record is written
//! cache/locks/<key>                locked while some process runs that key
//! cache/listings/ab/<digest>      what was in a source folder that some stage read
//! cache/quarantine/                damaged objects
//! cache/runs/<id>.json             what a run of the pipeline did
//! cache/in-use                     locked: by runs together, by `cache gc` alone
//! cache/index                      digests of source files
//! cache/partial/<digest>           a large download from a remote, as far as it is
//! cache/tmp/                       what is not finished
//! ```

mod families;
pub mod in_use;
pub mod index;
pub mod intact;
pub mod key;
pub mod record;

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
use crate::files::lock::Lock;
use crate::files::scratch::{Scratch, rename_into, rename_to_new, sync_folder};
use crate::files::tree::{Tree, TreeFile, files_below};
use crate::store::families::Families;
use crate::store::key::Key;
use crate::store::record::{Artifact, Record};

/// Where everything is kept.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    families: Arc<Families>,
}

impl Store {
    /// Nothing is read or made.
    pub fn new(root: &Path) -> Store {
        Store { root: root.to_owned(), families: Arc::default() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the store's folder if it is not there.
    pub fn prepare(&self) -> Result<(), FileError> {
        match self.root.is_dir() {
            true => Ok(()),
            false => disk::create_folders(&self.root)
                .map_err(FileError::at("making the store", &self.root)),
        }
    }

    /// Hides the store from git.
    pub fn hide(&self, scratch: &Scratch) -> Result<(), FileError> {
        let ignore = self.root.join(".gitignore");
        match ignore.exists() {
            true => Ok(()),
            false => scratch.write(&ignore, b"*\n!.gitignore\n", false),
        }
    }

    pub fn index_file(&self) -> PathBuf {
        self.root.join("index")
    }

    pub fn records_folder(&self) -> PathBuf {
        self.root.join("records")
    }

    pub fn objects_folder(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub fn listings_folder(&self) -> PathBuf {
        self.root.join("listings")
    }

    pub fn continuations_folder(&self) -> PathBuf {
        self.root.join("continuations")
    }

    pub fn markers_folder(&self) -> PathBuf {
        self.root.join("stages")
    }

    pub fn logs_folder(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub fn states_folder(&self) -> PathBuf {
        self.root.join("state")
    }

    pub fn jobs_folder(&self) -> PathBuf {
        self.root.join("jobs")
    }

    /// Where a stage that a scheduler runs has its folder: it outlives the engine.
    pub fn job_folder(&self, key: Key) -> PathBuf {
        self.jobs_folder().join(key.to_string())
    }

    pub fn notes_folder(&self) -> PathBuf {
        self.root.join("published")
    }

    pub fn quarantine_folder(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub fn in_use_file(&self) -> PathBuf {
        self.root.join("in-use")
    }

    pub fn runs_folder(&self) -> PathBuf {
        self.root.join("runs")
    }

    pub fn run_file(&self, id: &str) -> PathBuf {
        self.runs_folder().join(format!("{id}.json"))
    }

    pub fn scratch_folder(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub fn partial_folder(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub fn state_folder(&self, key: Key) -> PathBuf {
        self.root.join("state").join(key.to_string())
    }

    /// Removes what stages kept for themselves whose record is there by now. A stage's run does
    /// so itself, unless it is killed between the two.
    pub fn remove_finished_states(&self) {
        for entry in fs::read_dir(self.root.join("state")).into_iter().flatten().flatten() {
            let key = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A forced run of the key may be using it.
            let lock = |key| Lock::try_acquire(&self.lock_file(key)).ok().flatten();
            if let Some(key) = key.filter(|key| self.record(*key).is_some())
                && let Some(_lock) = lock(key)
            {
                let _ = disk::remove_folders(&entry.path());
            }
        }
    }

    pub fn locks_folder(&self) -> PathBuf {
        self.root.join("locks")
    }

    pub fn lock_file(&self, key: Key) -> PathBuf {
        self.locks_folder().join(key.to_string())
    }

    pub fn log_file(&self, stage: &str, key: Key) -> PathBuf {
        self.root.join("logs").join(file_name(stage)).join(format!("{}.log", key.short()))
    }

    /// Where the note about what was published at a path lies.
    pub fn published_note(&self, target: &Path) -> PathBuf {
        let name = Digest::of_bytes(target.as_os_str().as_encoded_bytes());
        self.root.join("published").join(name.to_string())
    }

    // Records.

    pub fn record_file(&self, key: Key) -> PathBuf {
        let name = key.to_string();
        self.root.join("records").join(&name[..2]).join(format!("{name}.json"))
    }

    /// The record of a key; `None` if there is none, or it is damaged.
    pub fn record(&self, key: Key) -> Option<Record> {
        let text = fs::read_to_string(self.record_file(key)).ok()?;
        Record::parse(&text, key)
    }

    /// Writes a record, after everything it names. See [`Store::insert`] on `durable`.
    pub fn write_record(
        &self,
        record: &Record,
        scratch: &Scratch,
        durable: bool,
    ) -> Result<(), FileError> {
        let file = self.record_file(record.key);
        scratch.write(&file, record.to_text().as_bytes(), durable)
    }

    /// Notes that a stage of this name has had this key, so that the next [`crate::plan::reason`] has
    /// something to compare with.
    pub fn mark_stage(&self, stage: &str, key: Key) -> Result<(), FileError> {
        let marker = self.root.join("stages").join(file_name(stage)).join(key.to_string());
        let mark = || match disk::create_file(&marker) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                marker.parent().map_or(Ok(()), disk::create_folders)?;
                disk::create_file(&marker)
            }
            other => other,
        };
        // An existing marker gets a new time: it is the newest again.
        mark()
            .and_then(|file| disk::set_modified(&file, std::time::SystemTime::now(), &marker))
            .map_err(FileError::at("writing", &marker))
    }

    /// The newest records of a stage and its variants, newest first; read once per process.
    pub fn records_of_family(&self, family: &str) -> Arc<Vec<Record>> {
        /// How many of them are kept in memory.
        const KEPT: usize = 64;
        self.families.records(family, || self.records_of_stage(family, KEPT))
    }

    /// The records that a stage of this name has had, newest first, at most `limit`.
    pub fn records_of_stage(&self, stage: &str, limit: usize) -> Vec<Record> {
        let folder = self.root.join("stages").join(file_name(stage));
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
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

    /// All records, in no order.
    pub fn records(&self) -> Vec<Record> {
        let folders = fs::read_dir(self.root.join("records")).into_iter().flatten().flatten();
        let files = folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten();
        let keys = files
            .flatten()
            .filter_map(|file| file.file_name().to_str()?.strip_suffix(".json")?.parse().ok());
        keys.filter_map(|key| self.record(key)).collect()
    }

    // Objects.

    pub fn object(&self, content: Content) -> PathBuf {
        let name = content.digest.to_string();
        let folder = self.root.join("objects").join(&name[..2]);
        match content.kind {
            Kind::File => folder.join(name),
            Kind::Folder => folder.join(name + ".tree"),
        }
    }

    /// The listing of a folder in the store; `None` if it is missing or damaged.
    pub fn tree(&self, folder: Content) -> Option<Tree> {
        let text = fs::read_to_string(self.object(folder)).ok()?;
        (Digest::of_bytes(text.as_bytes()) == folder.digest).then(|| Tree::parse(&text))?
    }

    /// Whether an artifact is there in full. Sizes are compared, bytes are not: that is for
    /// [`Store::verify`], when they are used.
    pub fn holds(&self, artifact: &Artifact) -> bool {
        let is_there = |digest: Digest, bytes: u64| {
            let metadata = fs::metadata(self.object(Content::file(digest)));
            metadata.is_ok_and(|metadata| metadata.is_file() && metadata.size() == bytes)
        };
        match artifact.content.kind {
            Kind::File => is_there(artifact.content.digest, artifact.bytes),
            Kind::Folder => self
                .tree(artifact.content)
                .is_some_and(|tree| tree.0.values().all(|file| is_there(file.digest, file.bytes))),
        }
    }

    /// Moves a finished output into the store and says what it is. With `durable` it survives a
    /// power cut; without, a cut may lose it, which shows in the object's size.
    pub fn insert(
        &self,
        path: &Path,
        scratch: &Scratch,
        durable: bool,
    ) -> Result<Artifact, FileError> {
        let metadata = fs::metadata(path).map_err(FileError::at("reading", path))?;
        if metadata.is_file() {
            let linked = path.is_symlink();
            let file = self.insert_file(path, linked, scratch, durable)?;
            return Ok(Artifact { content: Content::file(file.digest), bytes: file.bytes });
        }
        if !metadata.is_dir() {
            return Err(FileError::found("storing", path, "it is neither a file nor a folder"));
        }
        let stored: Result<_, FileError> = files_below(path)?
            .into_par_iter()
            .map(|file| {
                let stored = self.insert_file(&file.path, file.linked, scratch, durable)?;
                Ok((file.relative, stored))
            })
            .collect();
        let tree = Tree(stored?);
        let content = tree.content();
        let temporary = scratch.path()?;
        disk::write_new(&temporary, tree.to_text().as_bytes())
            .map_err(FileError::at("writing", &temporary))?;
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
        let metadata = fs::metadata(path).map_err(FileError::at("reading", path))?;
        if !metadata.is_file() {
            return Err(FileError::found("storing", path, "it is neither a file nor a folder"));
        }
        // A link, symbolic or hard, leads to a file that someone else may write to later: its
        // bytes are copied. All else is moved.
        let temporary = scratch.path()?;
        let digest = if linked || metadata.nlink() > 1 {
            Digest::of_copy(path, &temporary)?
        } else {
            disk::rename(path, &temporary).map_err(FileError::at("moving", path))?;
            Digest::of_file(&temporary)?
        };
        let metadata = fs::metadata(&temporary).map_err(FileError::at("reading", &temporary))?;
        self.place(&temporary, Content::file(digest), durable)?;
        Ok(TreeFile { digest, bytes: metadata.size() })
    }

    /// An object that is there already stays, since a stage may be reading it, and programs such as
    /// `cp` give up on a file that is replaced meanwhile; unless it is damaged.
    pub(crate) fn place(
        &self,
        temporary: &Path,
        content: Content,
        durable: bool,
    ) -> Result<(), FileError> {
        let object = &self.object(content);
        let read_only = Permissions::from_mode(0o444);
        disk::set_permissions(temporary, read_only).map_err(FileError::at("storing", temporary))?;
        if durable {
            let flush = File::open(temporary).and_then(|file| disk::flush(&file, temporary));
            flush.map_err(FileError::at("flushing", temporary))?;
        }
        let storing = || FileError::at("storing", object);
        if !rename_to_new(temporary, object).map_err(storing())? {
            if Digest::of_file(object).is_ok_and(|found| found == content.digest) {
                disk::remove_file(temporary).map_err(FileError::at("removing", temporary))?;
                if durable {
                    let flush = File::open(object).and_then(|file| disk::flush(&file, object));
                    flush.map_err(FileError::at("flushing", object))?;
                }
            } else {
                rename_into(temporary, object).map_err(storing())?;
            }
        }
        if durable { sync_folder(object) } else { Ok(()) }
    }
}

/// A stage's name as a file name: letters, digits and `-_@=.,+` as they are, all else (a leading
/// dot too) as `%` and two hexadecimal digits.
fn file_name(stage: &str) -> String {
    let mut name = String::with_capacity(stage.len());
    for (index, byte) in stage.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"-_@=,+".contains(&byte);
        if plain || (byte == b'.' && index > 0) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    name
}

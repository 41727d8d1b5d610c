//! Where each thing lies in the store. All paths of the store are made here.
//!
//! ```text
//! cache/objects/ab/<digest>        a file, read-only
//! cache/objects/ab/<digest>.x      a file with the execute bit, read-only
//! cache/objects/ab/<digest>.tree   a folder's listing
//! cache/records/ab/<key>.json      what a run of that key produced
//! cache/stages/<stage>/<key>       empty: this stage, or a variant of it, once had that key
//! cache/published/<digest>         what was last copied to a path of the project
//! cache/logs/<stage>/<key>.log     what the stage's process printed
//! cache/state/<key>/               a stage's own checkpoints, until its record is written
//! cache/continuations/…            checkpoints from which longer runs resume
//! cache/jobs/<key>/                a stage that a scheduler runs, until its record is written
//! cache/locks/<key>                locked while a process runs that key
//! cache/listings/ab/<digest>       the listing of a source folder that a stage read
//! cache/quarantine/                damaged objects
//! cache/runs/<id>.json             what a run of the pipeline did
//! cache/in-use                     the lock that runs share and `cache gc` takes alone
//! cache/index                      digests of source files
//! cache/bundle                     copies of small records, by the stamps of their files
//! cache/parsed                     the tree of the pipeline file, by the digest of its text
//! cache/settled                    what the last run stood on, if it had nothing to do
//! cache/partial/<digest>           the beginning of a large download from a remote
//! cache/tmp/                       scratch folders, for what is not finished
//! ```

use std::path::{Path, PathBuf};

use stages::Kind;

use crate::files::digest::{Content, Digest};
use crate::store::Store;
use crate::store::key::Key;

impl Store {
    /// All folders directly in the store, except `downloads`.
    pub(super) fn folders(&self) -> [PathBuf; 14] {
        [
            self.objects_folder(),
            self.records_folder(),
            self.markers_folder(),
            self.notes_folder(),
            self.logs_folder(),
            self.states_folder(),
            self.continuations_folder(),
            self.jobs_folder(),
            self.locks_folder(),
            self.listings_folder(),
            self.runs_folder(),
            self.scratch_folder(),
            self.partial_folder(),
            self.quarantine_folder(),
        ]
    }

    pub fn index_file(&self) -> PathBuf {
        self.root().join("index")
    }

    pub(super) fn bundle_file(&self) -> PathBuf {
        self.root().join("bundle")
    }

    pub fn tree_file(&self) -> PathBuf {
        self.root().join("parsed")
    }

    pub(super) fn settled_file(&self) -> PathBuf {
        self.root().join("settled")
    }

    pub fn in_use_file(&self) -> PathBuf {
        self.root().join("in-use")
    }

    pub fn records_folder(&self) -> PathBuf {
        self.root().join("records")
    }

    pub fn record_file(&self, key: Key) -> PathBuf {
        self.spread("records", &key.hex(), ".json")
    }

    /// A file whose name begins with many digits, in the folder that its first two name. Thousands of
    /// these paths are made in a run, so each is one allocation.
    fn spread(&self, folder: &str, digits: &str, suffix: &str) -> PathBuf {
        let root = self.root();
        let rest = folder.len() + digits.len() + suffix.len() + "//ab/".len();
        let mut path = PathBuf::with_capacity(root.as_os_str().len() + rest);
        path.extend([root, Path::new(folder), Path::new(&digits[..2]), Path::new(digits)]);
        path.as_mut_os_string().push(suffix);
        path
    }

    pub fn objects_folder(&self) -> PathBuf {
        self.root().join("objects")
    }

    pub fn object(&self, content: Content) -> PathBuf {
        self.spread("objects", &content.digest.hex(), suffix(content))
    }

    /// The content whose object has this file name.
    pub fn content_of_object(name: &str) -> Option<Content> {
        let make = [Content::file, Content::executable, Content::folder];
        make.into_iter().find_map(|make| {
            let end = suffix(make(Digest::of_bytes(b"")));
            Some(make(name.strip_suffix(end)?.parse().ok()?))
        })
    }

    pub fn listings_folder(&self) -> PathBuf {
        self.root().join("listings")
    }

    pub fn continuations_folder(&self) -> PathBuf {
        self.root().join("continuations")
    }

    /// The folder of all markers; see [`Store::mark_stage`].
    pub fn markers_folder(&self) -> PathBuf {
        self.root().join("stages")
    }

    /// The markers of one stage.
    pub(super) fn stage_markers_folder(&self, stage: &str) -> PathBuf {
        self.markers_folder().join(file_name(stage))
    }

    pub fn logs_folder(&self) -> PathBuf {
        self.root().join("logs")
    }

    pub fn log_file(&self, stage: &str, key: Key) -> PathBuf {
        self.logs_folder().join(file_name(stage)).join(format!("{}.log", key.short()))
    }

    pub fn states_folder(&self) -> PathBuf {
        self.root().join("state")
    }

    pub fn state_folder(&self, key: Key) -> PathBuf {
        self.states_folder().join(key.to_string())
    }

    pub fn jobs_folder(&self) -> PathBuf {
        self.root().join("jobs")
    }

    /// The folder of a stage that a scheduler runs. It outlives the engine.
    pub fn job_folder(&self, key: Key) -> PathBuf {
        self.jobs_folder().join(key.to_string())
    }

    /// The folder of all notes about published files.
    pub fn notes_folder(&self) -> PathBuf {
        self.root().join("published")
    }

    /// The note about what was published at `target`.
    pub fn published_note(&self, target: &Path) -> PathBuf {
        let name = Digest::of_bytes(target.as_os_str().as_encoded_bytes());
        self.notes_folder().join(name.to_string())
    }

    pub fn quarantine_folder(&self) -> PathBuf {
        self.root().join("quarantine")
    }

    pub fn runs_folder(&self) -> PathBuf {
        self.root().join("runs")
    }

    pub fn run_file(&self, id: &str) -> PathBuf {
        self.runs_folder().join(format!("{id}.json"))
    }

    pub fn scratch_folder(&self) -> PathBuf {
        self.root().join("tmp")
    }

    pub fn partial_folder(&self) -> PathBuf {
        self.root().join("partial")
    }

    pub fn locks_folder(&self) -> PathBuf {
        self.root().join("locks")
    }

    pub fn lock_file(&self, key: Key) -> PathBuf {
        self.locks_folder().join(key.to_string())
    }
}

/// An executable file has an object of its own even if a plain file has the same bytes: the execute
/// bit belongs to the file on the disk, and stages get links to it.
fn suffix(content: Content) -> &'static str {
    match content.kind {
        Kind::File if content.executable => ".x",
        Kind::File => "",
        Kind::Folder => ".tree",
    }
}

/// A stage's name as a file name: letters, digits and `-_@=.,+` as they are; everything else, and
/// a leading dot, as `%` and two hexadecimal digits.
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

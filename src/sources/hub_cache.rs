//! The cache that all Hugging Face tools share, as `huggingface_hub` lays it out.
//!
//! ```text
//! models--<owner>--<name>/blobs/<checksum>             the content of a file
//! models--<owner>--<name>/refs/<branch>                the commit of a branch when it was fetched
//! models--<owner>--<name>/snapshots/<commit>/<file>    a link to a blob
//! datasets--<owner>--<name>/                           the same of data
//! ```
//!
//! Commits and checksums come from a server and become names here, so nothing but hexadecimal
//! digits of the right number is accepted.

use std::path::{Path, PathBuf};

use crate::files::digest::is_hex;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::{temporary_beside, write_beside};
use crate::sources::downloads::Downloads;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryKind {
    Model,
    Data,
}

impl RepositoryKind {
    /// The word for it in the hub's API and in the cache.
    pub fn api(self) -> &'static str {
        match self {
            RepositoryKind::Model => "models",
            RepositoryKind::Data => "datasets",
        }
    }

    /// What its addresses begin with.
    pub fn path(self) -> &'static [&'static str] {
        match self {
            RepositoryKind::Model => &[],
            RepositoryKind::Data => &["datasets"],
        }
    }

    /// What its name begins with in an input.
    pub fn prefix(self) -> &'static str {
        match self {
            RepositoryKind::Model => "",
            RepositoryKind::Data => "datasets/",
        }
    }
}

/// The part of the cache that belongs to one repository.
pub struct HubCache {
    folder: PathBuf,
}

impl HubCache {
    pub fn of(downloads: &Downloads, kind: RepositoryKind, repository: &str) -> HubCache {
        let shared = downloads.hub.cache.clone().unwrap_or_else(|| downloads.folder.join("hub"));
        let name = format!("{}--{}", kind.api(), repository.replace('/', "--"));
        HubCache { folder: shared.join(name) }
    }

    /// The commit of a revision; for a branch, the commit at which it was last fetched.
    pub fn known_commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = std::fs::read_to_string(self.reference(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes the commit of a branch.
    pub fn set_commit(&self, revision: &str, commit: &str) -> Result<(), FileError> {
        if is_commit(revision) {
            return Ok(());
        }
        let reference = self.reference(revision);
        let folder = reference.parent().unwrap_or(&reference);
        disk::create_folders(folder).map_err(FileError::at("making the folder", folder))?;
        write_beside(&reference, commit.as_bytes())
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub fn blob(&self, checksum: &str) -> PathBuf {
        self.folder.join("blobs").join(checksum)
    }

    /// The beginning of a file that is being downloaded. Other tools have other names for theirs.
    pub fn part(&self, commit: &str, name: &str) -> PathBuf {
        let name = blake3::hash(format!("{commit}/{name}").as_bytes()).to_hex();
        self.blob(&format!("{name}.pipe-part"))
    }

    /// Lets a file of a snapshot be this blob.
    pub fn link(&self, commit: &str, name: &str, checksum: &str) -> Result<(), FileError> {
        let link = self.snapshot(commit).join(name);
        let folder = link.parent().unwrap_or(&link);
        disk::create_folders(folder).map_err(FileError::at("making the folder", folder))?;
        let making = temporary_beside(&link);
        let up = "../".repeat(2 + name.matches('/').count());
        disk::symlink(&Path::new(&up).join("blobs").join(checksum), &making)
            .and_then(|()| disk::rename(&making, &link))
            .map_err(FileError::at("making the link", &link))
    }
}

/// Whether this is the full name of a Git commit, or of a small file on the hub.
pub fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// Whether this is the name of a large file on the hub.
pub fn is_sha256(text: &str) -> bool {
    is_hex(text, 64)
}

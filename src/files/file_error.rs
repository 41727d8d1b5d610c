//! An operation on a file that failed: what was being done, and to which file. Every module that
//! touches the disk wraps its I/O errors in a [`FileError`].

use std::io;
use std::path::{Path, PathBuf};

use crate::files::regular::NOT_A_FILE;

/// `writing `cache/records/ab/…`: permission denied`.
#[derive(Debug, thiserror::Error)]
#[error("{doing} `{}`: {source}", path.display())]
pub struct FileError {
    /// A participle: `reading`, `renaming`.
    pub doing: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
    /// Whether the path lies in the store, which can be put elsewhere.
    pub in_store: bool,
}

impl FileError {
    /// For `map_err`, where the path belongs to the user or lies outside the store.
    pub fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError + use<> {
        let path = path.to_owned();
        move |source| FileError { doing, path, source, in_store: false }
    }

    /// For `map_err`, where the path lies in the store.
    pub fn in_store(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> FileError + use<> {
        let error = FileError::at(doing, path);
        move |source| FileError { in_store: true, ..error(source) }
    }

    /// A problem that the engine found rather than the operating system.
    pub fn found(doing: &'static str, path: &Path, problem: &str) -> FileError {
        let source = io::Error::new(io::ErrorKind::InvalidData, problem.to_owned());
        FileError::at(doing, path)(source)
    }

    /// What the user can do about it, where that is clear.
    pub fn hint(&self) -> Option<&'static str> {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("free some space and run again: what has been recorded is intact")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some(match self.in_store {
                    true => "check the permissions, or put the store elsewhere with `--cache DIR`",
                    false => "check the permissions",
                })
            }
            // What `fork` and `clone` say.
            io::ErrorKind::WouldBlock => Some(
                "the limit on processes and threads is reached: end some, raise the limit (`ulimit -u`, \
                 or `pids.max` of the control group), or run fewer stages at once with `--jobs 1`",
            ),
            NOT_A_FILE => Some("reading it might never end: remove it, or move it elsewhere"),
            _ => None,
        }
    }
}

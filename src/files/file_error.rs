//! An operation on a file that failed: what was being done, and to which file. Every module that
//! touches the disk wraps its errors in this one.

use std::io;
use std::path::{Path, PathBuf};

/// `writing `cache/records/ab/…`: permission denied`.
#[derive(Debug, thiserror::Error)]
#[error("{doing} `{}`: {source}", path.display())]
pub struct FileError {
    /// A participle: `reading`, `renaming`.
    pub doing: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

impl FileError {
    /// For `map_err`.
    pub fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError + use<> {
        let path = path.to_owned();
        move |source| FileError { doing, path, source }
    }

    /// A problem that the operating system did not report but we found.
    pub fn found(doing: &'static str, path: &Path, problem: &str) -> FileError {
        let source = io::Error::new(io::ErrorKind::InvalidData, problem.to_owned());
        FileError { doing, path: path.to_owned(), source }
    }

    /// What to do about it, where that is clear.
    pub fn hint(&self) -> Option<&'static str> {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("free some space and run again: what has been recorded is intact")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some("check the permissions, or put the store elsewhere with `--cache DIR`")
            }
            _ => None,
        }
    }
}

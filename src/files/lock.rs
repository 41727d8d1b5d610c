//! One lock per key, so that a key wanted by two processes is computed once. The lock is the
//! kernel's (`flock`): it ends with its process, however that dies.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::files::disk;
use crate::files::file_error::FileError;

/// Held until dropped. The file stays, until some run has ended and nobody holds it.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// `None` if another process, or another stage of this one, holds it.
    pub fn try_acquire(path: &Path) -> Result<Option<Lock>, FileError> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(FileError::at("locking", path)(error));
                }
            }
            if is_still_at(&file, path) {
                return Ok(Some(Lock { _file: file }));
            }
        }
    }

    /// Waits for it.
    pub fn acquire(path: &Path) -> Result<Lock, FileError> {
        loop {
            let file = open(path)?;
            file.lock().map_err(FileError::at("locking", path))?;
            if is_still_at(&file, path) {
                return Ok(Lock { _file: file });
            }
        }
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    let opened = match disk::touch(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), disk::create_folders).and_then(|()| disk::touch(path))
        }
        other => other,
    };
    opened.map_err(FileError::at("opening the lock", path))
}

/// Somebody removed the file when nobody held it; a lock on a file without a name keeps nobody
/// out.
pub(crate) fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

/// Removes the lock files of a folder that nobody holds, those of dead processes among them.
pub fn remove_free_locks(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // Removed while locked, so that whoever waits for it sees that it must look again.
        if let Ok(Some(lock)) = Lock::try_acquire(&path) {
            let _ = disk::remove_file(&path);
            drop(lock);
        }
    }
}

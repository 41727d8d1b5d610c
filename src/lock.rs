//! One lock per key, so that a key wanted by two processes is computed once. The lock is the
//! kernel's (`flock`): it ends with its process, however that dies.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::file_error::FileError;

/// Held until dropped. The file is removed then.
pub struct Lock {
    file: File,
    path: PathBuf,
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
                return Ok(Some(Lock { file, path: path.to_owned() }));
            }
        }
    }

    /// Waits for it.
    pub fn acquire(path: &Path) -> Result<Lock, FileError> {
        loop {
            let file = open(path)?;
            file.lock().map_err(FileError::at("locking", path))?;
            if is_still_at(&file, path) {
                return Ok(Lock { file, path: path.to_owned() });
            }
        }
    }
}

fn open(path: &Path) -> Result<File, FileError> {
    let open = || File::options().create(true).truncate(false).write(true).open(path);
    let opened = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| open())
        }
        other => other,
    };
    opened.map_err(FileError::at("opening the lock", path))
}

/// The holder before us removed the file when it was done; a lock on a file without a name
/// keeps nobody out.
fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still locked, so that whoever waits sees that it must look again.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

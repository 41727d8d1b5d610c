//! `cache/in-use`: who works with the store now. Runs, and all else that relies on objects staying
//! where they are, lock it together; `cache gc` and `cache verify --repair` lock it alone, so that
//! nothing goes away under a run. The lock is the kernel's and ends with its process. Commands that
//! only look take none: an object that goes away under them is an error, never a wrong answer.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::store::Store;

/// Held until dropped.
pub struct InUse {
    _lock: File,
}

impl InUse {
    /// Makes the store if it is not there, and joins those who work with it. If somebody has it
    /// alone, says so to `waiting` once and waits.
    pub fn together(store: &Store, waiting: &mut dyn FnMut()) -> Result<InUse, FileError> {
        let (file, path) = (open(store)?, store.in_use_file());
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock_shared().map_err(FileError::at("locking", &path))?;
            }
            Err(TryLockError::Error(error)) => return Err(FileError::at("locking", &path)(error)),
        }
        Ok(InUse { _lock: file })
    }

    /// Has the store alone; `None` if somebody works with it. With `waiting`, says so to it once
    /// and waits instead.
    pub fn alone(
        store: &Store,
        waiting: Option<&mut dyn FnMut()>,
    ) -> Result<Option<InUse>, FileError> {
        let (file, path) = (open(store)?, store.in_use_file());
        match (file.try_lock(), waiting) {
            (Ok(()), _) => {}
            (Err(TryLockError::WouldBlock), None) => return Ok(None),
            (Err(TryLockError::WouldBlock), Some(waiting)) => {
                waiting();
                file.lock().map_err(FileError::at("locking", &path))?;
            }
            (Err(TryLockError::Error(error)), _) => {
                return Err(FileError::at("locking", &path)(error));
            }
        }
        Ok(Some(InUse { _lock: file }))
    }
}

/// The file is never removed, so that all lock the same one.
fn open(store: &Store) -> Result<File, FileError> {
    let path = store.in_use_file();
    let opened = match File::open(&path) {
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            store.prepare()?;
            disk::touch(&path)
        }
        other => other,
    };
    opened.map_err(FileError::at("opening the lock", &path))
}

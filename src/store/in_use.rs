//! The lock on the whole store, `cache/in-use`. Runs, and all other commands that rely on objects
//! staying where they are, share it. `cache gc` and `cache verify --repair` take it alone, so that
//! nothing is removed during a run. The lock is the kernel's and ends with its process. Commands
//! that only read take no lock: if an object is removed meanwhile, they report an error, never a
//! wrong answer.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::regular;
use crate::store::Store;

/// The lock, held until it is dropped.
pub struct InUse {
    _lock: File,
}

impl InUse {
    /// Creates the store if necessary and shares the lock. If a process holds it alone, calls
    /// `waiting` once and waits.
    pub fn together(store: &Store, waiting: &mut dyn FnMut()) -> Result<InUse, FileError> {
        let (file, path) = (open(store)?, store.in_use_file());
        match file.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock_shared().map_err(FileError::in_store("locking", &path))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(FileError::in_store("locking", &path)(error));
            }
        }
        Ok(InUse { _lock: file })
    }

    /// Takes the lock alone. If other processes hold it, calls `waiting` once and waits; without
    /// `waiting`, returns `None`.
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
                file.lock().map_err(FileError::in_store("locking", &path))?;
            }
            (Err(TryLockError::Error(error)), _) => {
                return Err(FileError::in_store("locking", &path)(error));
            }
        }
        Ok(Some(InUse { _lock: file }))
    }
}

/// Opens the lock file. It is never removed, so all processes lock the same file.
fn open(store: &Store) -> Result<File, FileError> {
    let path = store.in_use_file();
    // A FIFO in its place must not keep every command waiting. A folder can be locked as well.
    let opened = regular::open(&path).or_else(|error| match error.kind() {
        ErrorKind::IsADirectory => File::open(&path),
        _ => Err(error),
    });
    let opened = match opened {
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            store.prepare()?;
            disk::touch(&path)
        }
        other => other,
    };
    opened.map_err(FileError::in_store("opening the lock", &path))
}

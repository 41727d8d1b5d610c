//! File locks. A stage's key has one, so that two processes which want the same key compute it
//! once. The lock is the kernel's (`flock`) and ends with its process, however that dies.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::files::disk;
use crate::files::file_error::FileError;

/// A lock that is held until it is dropped. Its file stays until [`remove_free_locks`].
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock; `None` if another process, or another stage of this process, holds it.
    pub fn try_acquire(path: &Path) -> Result<Option<Lock>, FileError> {
        loop {
            let file = open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(FileError::in_store("locking", path)(error));
                }
            }
            if is_still_at(&file, path) {
                return Ok(Some(Lock { _file: file }));
            }
        }
    }

    /// Takes the lock, and waits for it if necessary.
    pub fn acquire(path: &Path) -> Result<Lock, FileError> {
        loop {
            let file = open(path)?;
            file.lock().map_err(FileError::in_store("locking", path))?;
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
    opened.map_err(FileError::in_store("opening the lock", path))
}

/// Whether some process has a file open for writing, or mapped. False where the file system cannot
/// tell.
pub fn is_open_for_writing(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    // The kernel grants a lease for reading only while nobody has the file open for writing. If
    // somebody opens it before the lease is given back, this signal comes, which does nothing.
    // SAFETY: these are plain system calls on an open file.
    unsafe {
        let number = file.as_raw_fd();
        libc::fcntl(number, F_SETSIG, libc::SIGURG);
        if libc::fcntl(number, libc::F_SETLEASE, libc::F_RDLCK) == 0 {
            libc::fcntl(number, libc::F_SETLEASE, libc::F_UNLCK);
            return false;
        }
    }
    io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)
}

/// `libc` does not name it.
const F_SETSIG: i32 = 10;

/// Whether `path` still names the locked file. Another process may have removed the file between
/// our opening and our locking it, and a lock on a file without a name keeps nobody out.
pub(crate) fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

/// Removes all lock files of a folder that no living process holds.
pub fn remove_free_locks(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // Remove it while holding the lock: a process that waits for it then opens a new file.
        if let Ok(Some(lock)) = Lock::try_acquire(&path) {
            let _ = disk::remove_file(&path);
            drop(lock);
        }
    }
}

//! The folder `cache/tmp/<process>` in which one run writes all that is not finished yet. Its
//! owner holds a kernel lock on it; one without a lock belongs to a dead process and is removed
//! by the next run. So whatever was interrupted, nothing of it lies where results are read.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::files::disk;
use crate::files::file_error::FileError;

/// Makes its folder when the first name in it is asked for: a run that has nothing to do
/// writes nothing.
pub struct Scratch {
    /// `cache/tmp`.
    all: PathBuf,
    own: OnceLock<Own>,
    count: AtomicU64,
}

struct Own {
    folder: PathBuf,
    /// The folder itself, locked until the process ends.
    _lock: File,
}

impl Scratch {
    /// Removes what dead processes left and gets ready.
    pub fn new(all: &Path) -> Result<Scratch, FileError> {
        remove_left_over(all)?;
        Ok(Scratch { all: all.to_owned(), own: OnceLock::new(), count: AtomicU64::new(0) })
    }

    /// A path that nobody else uses; nothing is there yet.
    pub fn path(&self) -> Result<PathBuf, FileError> {
        let folder = match self.own.get() {
            Some(own) => &own.folder,
            None => {
                let own = make_own(&self.all)?;
                // Two threads may race to be first; the loser's folder goes at once.
                if let Err(spare) = self.own.set(own) {
                    let _ = disk::remove_folder(&spare.folder);
                }
                &self.own.get_or_init(|| unreachable!("set above")).folder
            }
        };
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Ok(folder.join(count.to_string()))
    }

    /// Writes a small file so that it is there whole or not at all: here first, then renamed.
    /// With `durable` the bytes and the name are on the disk when this returns.
    pub fn write(&self, path: &Path, bytes: &[u8], durable: bool) -> Result<(), FileError> {
        let temporary = self.path()?;
        let write = || {
            let file = disk::create_new_file(&temporary)?;
            disk::write_all(&file, bytes, &temporary)?;
            if durable { disk::flush(&file, &temporary) } else { Ok(()) }
        };
        let written = write()
            .map_err(FileError::at("writing", &temporary))
            .and_then(|()| rename_into(&temporary, path).map_err(FileError::at("writing", path)));
        if written.is_err() {
            // The error that matters is the one above.
            let _ = disk::remove_file(&temporary);
        }
        written?;
        if durable { sync_folder(path) } else { Ok(()) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(own) = self.own.get() {
            // What remains is removed by the next run.
            let _ = disk::remove_folders(&own.folder);
        }
        // When this run began, a dead one's stages may have been dying still.
        let _ = remove_left_over(&self.all);
    }
}

fn make_own(all: &Path) -> Result<Own, FileError> {
    disk::create_folders(all).map_err(FileError::at("making the folder", all))?;
    // While this is held nobody takes our folder, not locked yet, for a dead process's.
    let _guard = lock_folder(all)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let folder = all.join(format!("{}-{}{}", std::process::id(), now.as_nanos(), of_this_host()));
    disk::create_folder(&folder).map_err(FileError::at("making the folder", &folder))?;
    let lock = lock_folder(&folder)?;
    Ok(Own { folder, _lock: lock })
}

/// Ends the name of a scratch folder of this machine: on a file system that several share, a lock on
/// a folder keeps out nobody on another machine.
fn of_this_host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let plain = |char: char| if char.is_ascii_alphanumeric() { char } else { '_' };
    format!("-{}", name.chars().map(plain).collect::<String>())
}

/// Whether such a folder may be removed here, if nobody holds it: it is of this machine, or of none.
pub fn is_of_this_host(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.matches('-').count() < 2 || name.ends_with(&of_this_host())
}

fn lock_folder(folder: &Path) -> Result<File, FileError> {
    let lock = File::open(folder).map_err(FileError::at("opening", folder))?;
    lock.lock().map_err(FileError::at("locking", folder))?;
    Ok(lock)
}

fn remove_left_over(all: &Path) -> Result<(), FileError> {
    let entries = match fs::read_dir(all) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(FileError::at("listing", all))?,
    };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let folders: Vec<PathBuf> = folders.filter(|folder| is_of_this_host(folder)).collect();
    if folders.is_empty() {
        return Ok(());
    }
    let guard = lock_folder(all)?;
    let dead: Vec<(PathBuf, File)> = folders
        .into_iter()
        .filter_map(|folder| {
            let lock = File::open(&folder).ok()?;
            lock.try_lock().is_ok().then_some((folder, lock))
        })
        .collect();
    drop(guard);
    for (folder, _lock) in &dead {
        // A straggler may still be writing there; then the run after this one removes it.
        let _ = disk::remove_folders(folder).or_else(|_| disk::remove_file(folder));
    }
    Ok(())
}

/// Moves, making the folder that is moved to if it turns out to be missing.
pub fn rename_into(from: &Path, to: &Path) -> io::Result<()> {
    match disk::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = to.parent() {
                disk::create_folders(parent)?;
            }
            disk::rename(from, to)
        }
        other => other,
    }
}

/// As [`rename_into`], but leaves what is at `to`: then the answer is false.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<bool> {
    let rename = || match disk::rename_to_new(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        other => other.map(|()| true),
    };
    match rename() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            to.parent().map_or(Ok(()), disk::create_folders)?;
            rename()
        }
        other => other,
    }
}

/// Makes a rename in the folder of `path` survive a power cut.
pub fn sync_folder(path: &Path) -> Result<(), FileError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    File::open(folder)
        .and_then(|file| disk::flush(&file, folder))
        .map_err(FileError::at("flushing", folder))
}

/// Writes a file of the user's whole or not at all, over what is there.
pub fn write_beside(target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    place_beside(target, bytes, |from| disk::rename(from, target))
}

/// As [`write_beside`], but fails if something is there.
pub fn write_new_beside(target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    place_beside(target, bytes, |from| disk::rename_to_new(from, target))
}

fn place_beside(
    target: &Path,
    bytes: &[u8],
    place: impl Fn(&Path) -> io::Result<()>,
) -> Result<(), FileError> {
    let partial = temporary_beside(target);
    let written = disk::write_new(&partial, bytes).and_then(|()| place(&partial));
    if written.is_err() {
        // What matters is the error that follows.
        let _ = disk::remove_file(&partial);
    }
    written.map_err(FileError::at("writing", target))
}

/// A name beside `target` that no other process uses, for where a rename from the scratch folder
/// is not possible.
pub fn temporary_beside(target: &Path) -> PathBuf {
    target.with_file_name(format!("{}{}", prefix_beside(target), std::process::id()))
}

/// The process that made the file of this name by [`temporary_beside`].
pub fn maker_of_temporary(name: &str, target: &Path) -> Option<rustix::process::Pid> {
    let process = name.strip_prefix(&prefix_beside(target))?;
    rustix::process::Pid::from_raw(process.parse().ok()?)
}

fn prefix_beside(target: &Path) -> String {
    format!(".{}.pipe-", target.file_name().unwrap_or_default().display())
}

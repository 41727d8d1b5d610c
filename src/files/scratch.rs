//! The scratch folder `cache/tmp/<process>`, in which a run writes everything that is not finished
//! yet. The run holds a kernel lock on the folder. A folder without a lock belongs to a dead
//! process, and the next run removes it. So an interrupted write never lies where results are read.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::unique;

/// The scratch folder of one run. It is created when the first name in it is asked for, so a run
/// that has nothing to do writes nothing.
pub struct Scratch {
    /// `cache/tmp`, which holds the scratch folders of all runs.
    all: PathBuf,
    own: OnceLock<Own>,
    count: AtomicU64,
}

struct Own {
    folder: PathBuf,
    /// The open folder itself, which stays locked until the process ends.
    _lock: File,
}

impl Scratch {
    /// Removes what dead processes left in `all`. Creates no folder yet.
    pub fn new(all: &Path) -> Result<Scratch, FileError> {
        remove_left_over(all)?;
        Ok(Scratch { all: all.to_owned(), own: OnceLock::new(), count: AtomicU64::new(0) })
    }

    /// A path that nobody else uses, and at which nothing is yet.
    pub fn path(&self) -> Result<PathBuf, FileError> {
        let folder = match self.own.get() {
            Some(own) => &own.folder,
            None => {
                let own = make_own(&self.all)?;
                // If two threads race to be first, the loser removes its folder at once.
                if let Err(spare) = self.own.set(own) {
                    let _ = disk::remove_folder(&spare.folder);
                }
                &self.own.get_or_init(|| unreachable!("set above")).folder
            }
        };
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Ok(folder.join(count.to_string()))
    }

    /// Writes a small file of the store in full or not at all: first into this folder, then by
    /// rename. With `durable`, its bytes and its name have reached the disk on return.
    pub fn write(&self, path: &Path, bytes: &[u8], durable: bool) -> Result<(), FileError> {
        let temporary = self.path()?;
        let write = || {
            let file = disk::create_new_file(&temporary)?;
            disk::write_all(&file, bytes, &temporary)?;
            if durable { disk::flush(&file, &temporary) } else { Ok(()) }
        };
        let written = write().map_err(FileError::in_store("writing", &temporary)).and_then(|()| {
            rename_into(&temporary, path).map_err(FileError::in_store("writing", path))
        });
        if written.is_err() {
            // The first error is the one to report.
            let _ = disk::remove_file(&temporary);
        }
        written?;
        if durable { sync_folder(path) } else { Ok(()) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(own) = self.own.get() {
            // The next run removes what remains.
            let _ = disk::remove_folders(&own.folder);
        }
        // When this run began, stages of a dead run may still have been writing.
        let _ = remove_left_over(&self.all);
    }
}

fn make_own(all: &Path) -> Result<Own, FileError> {
    disk::create_folders(all).map_err(FileError::in_store("making the folder", all))?;
    // While we hold this lock, nobody mistakes our folder, which is not locked yet, for that of a
    // dead process.
    let _guard = lock_folder(all)?;
    let name = format!("{}-{}{}", std::process::id(), unique::random(), of_this_host());
    let folder = all.join(name);
    disk::create_folder(&folder).map_err(FileError::in_store("making the folder", &folder))?;
    let lock = lock_folder(&folder)?;
    Ok(Own { folder, _lock: lock })
}

/// The end of the names of this machine's scratch folders. Where several machines share a file
/// system, a lock on one may be invisible on the others.
fn of_this_host() -> String {
    format!("-{}", unique::host())
}

/// Whether this machine may remove a scratch folder that is not locked: one of its own, or one
/// whose name carries no machine.
pub fn is_of_this_host(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.matches('-').count() < 2 || name.ends_with(&of_this_host())
}

/// Whether the name is that of a scratch folder, today or in earlier versions of `pipe`: a process,
/// random digits, and a machine.
pub fn is_scratch(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut parts = name.splitn(3, '-');
    let is = |part: Option<&str>, allowed: fn(&u8) -> bool| {
        part.is_none_or(|part| !part.is_empty() && part.as_bytes().iter().all(allowed))
    };
    is(parts.next(), u8::is_ascii_digit) && is(parts.next(), u8::is_ascii_hexdigit)
}

fn lock_folder(folder: &Path) -> Result<File, FileError> {
    let lock = File::open(folder).map_err(FileError::in_store("opening", folder))?;
    lock.lock().map_err(FileError::in_store("locking", folder))?;
    Ok(lock)
}

fn remove_left_over(all: &Path) -> Result<(), FileError> {
    let entries = match fs::read_dir(all) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(FileError::in_store("listing", all))?,
    };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let ours = |folder: &PathBuf| is_scratch(folder) && is_of_this_host(folder);
    let folders: Vec<PathBuf> = folders.filter(ours).collect();
    if folders.is_empty() {
        return Ok(());
    }
    let guard = lock_folder(all)?;
    let dead: Vec<(PathBuf, File)> = folders
        .into_iter()
        .filter_map(|folder| {
            // A stage may have closed it to its owner.
            let open = || File::open(&folder);
            let lock = open().or_else(|_| disk::open_up(&folder).and_then(|()| open())).ok()?;
            lock.try_lock().is_ok().then_some((folder, lock))
        })
        .collect();
    drop(guard);
    for (folder, _lock) in &dead {
        // A stage of the dead run may still be writing here; then a later run removes the folder.
        let _ = disk::remove_folders(folder).or_else(|_| disk::remove_file(folder));
    }
    Ok(())
}

/// Renames, and creates the target's folders if they turn out to be missing.
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

/// Like [`rename_into`], but keeps what is at `to` already and then returns false.
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
        .map_err(FileError::in_store("flushing", folder))
}

/// Writes a file outside the store in full or not at all, and replaces what is there.
pub fn write_beside(target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    place_beside(target, bytes, |from| disk::rename(from, target))
}

/// Like [`write_beside`], but fails if something is at `target` already.
pub fn write_new_beside(target: &Path, bytes: &[u8]) -> Result<(), FileError> {
    place_beside(target, bytes, |from| disk::rename_to_new(from, target))
}

/// Writes a file in full, and then has `place` move it to `target` from where it was written.
pub fn place_beside(
    target: &Path,
    bytes: &[u8],
    place: impl Fn(&Path) -> io::Result<()>,
) -> Result<(), FileError> {
    let temporary = temporary_beside(target);
    let written = disk::write_new(&temporary, bytes).and_then(|()| place(&temporary));
    if written.is_err() {
        // The first error is the one to report.
        let _ = disk::remove_file(&temporary);
    }
    written.map_err(FileError::at("writing", target))
}

/// A new name beside `target`, for when the scratch folder is on another file system than the
/// target: `.<target>.pipe-<process>-<process space>-<random>`.
pub fn temporary_beside(target: &Path) -> PathBuf {
    let (process, space, random) = (std::process::id(), unique::process_space(), unique::random());
    target.with_file_name(format!("{}{process}-{space}-{random}", prefix_beside(target)))
}

fn prefix_beside(target: &Path) -> String {
    format!(".{}.pipe-", target.file_name().unwrap_or_default().display())
}

/// After this long without a change, something that a process of another container or machine
/// wrote beside its target counts as left over.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes what dead processes have left beside a target; see [`temporary_beside`].
pub fn remove_left_beside(target: &Path) {
    let Some(folder) = target.parent() else { return };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if is_left_beside(&path, target) {
            let _ = disk::remove_folders(&path).or_else(|_| disk::remove_file(&path));
        }
    }
}

fn is_left_beside(path: &Path, target: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let unchanged = || {
        let changed = fs::symlink_metadata(path).ok()?.ctime();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(now.saturating_sub(Duration::from_secs(changed.try_into().ok()?)))
    };
    is_name_left_beside(name, target, &|| unchanged().unwrap_or_default())
}

/// `unchanged` is how long ago the file or folder changed.
fn is_name_left_beside(name: &str, target: &Path, unchanged: &dyn Fn() -> Duration) -> bool {
    let Some(rest) = name.strip_prefix(&prefix_beside(target)) else { return false };
    let mut parts = rest.splitn(3, '-');
    let process = parts.next().and_then(|id| Pid::from_raw(id.parse().ok()?));
    let Some(process) = process else { return false };
    match (parts.next(), parts.next()) {
        // Earlier versions of `pipe` wrote the process alone.
        (None, _) => is_dead(process),
        (Some(space), Some(_)) if space == unique::process_space() => is_dead(process),
        // This process cannot look for that one.
        (Some(_), Some(_)) => unchanged() >= LEFT_OVER_AFTER,
        (Some(_), None) => false,
    }
}

fn is_dead(process: Pid) -> bool {
    test_kill_process(process) == Err(Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::files::scratch::{LEFT_OVER_AFTER, is_name_left_beside, temporary_beside};
    use crate::files::unique;

    /// No process has this number.
    const DEAD: u32 = 2_147_483_647;

    fn is_left(name: &str, unchanged: Duration) -> bool {
        is_name_left_beside(name, Path::new("out/table.csv"), &|| unchanged)
    }

    #[test]
    fn no_two_temporary_names_are_alike_in_containers_with_the_same_process_id() {
        let target = Path::new("out/table.csv");
        assert_ne!(temporary_beside(target), temporary_beside(target));
    }

    #[test]
    fn what_a_living_process_writes_is_not_left_over() {
        let name = temporary_beside(Path::new("out/table.csv"));
        let name = name.file_name().unwrap().to_str().unwrap();
        assert!(!is_left(name, 2 * LEFT_OVER_AFTER));
        let dead = name.replacen(&std::process::id().to_string(), &DEAD.to_string(), 1);
        assert!(is_left(&dead, Duration::ZERO));
    }

    #[test]
    fn what_another_container_writes_is_left_over_after_a_day_whatever_runs_here() {
        let (this, random) = (std::process::id(), unique::random());
        for process in [this, DEAD] {
            let name = format!(".table.csv.pipe-{process}-0123456789abcdef-{random}");
            assert!(!is_left(&name, LEFT_OVER_AFTER / 2));
            assert!(is_left(&name, LEFT_OVER_AFTER));
        }
    }

    #[test]
    fn what_an_earlier_version_left_is_recognized_and_other_files_are_not() {
        assert!(is_left(&format!(".table.csv.pipe-{DEAD}"), Duration::ZERO));
        assert!(!is_left(&format!(".table.csv.pipe-{}", std::process::id()), LEFT_OVER_AFTER));
        for other in ["table.csv", ".table.csv.pipe-", ".table.csv.pipe-x", ".other.pipe-1"] {
            assert!(!is_left(other, LEFT_OVER_AFTER), "{other}");
        }
    }
}

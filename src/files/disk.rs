//! Every call by which the engine changes the disk. Most are named as in `std::fs`; around each
//! one, tests can kill the engine or make the call fail ([`crate::files::fault`]). A house rule in
//! `tests/it/tidy.rs` keeps all other files from calling `std::fs` for this.
//!
//! Two writers do not pass through here: the stages, which are processes of their own, and servers
//! that a remote uploads to.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{
    AtFlags, CWD, RenameFlags, SeekFrom, Timespec, Timestamps, XattrFlags, renameat_with, seek,
    setxattr, utimensat,
};
use rustix::io::Errno;

use crate::files::fault::{self, Needs, around};
use crate::files::regular;

/// Whether the file system of `path` has less than 16 KiB left.
pub fn is_full(path: &Path) -> bool {
    let disk = rustix::fs::statvfs(path);
    disk.is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < 16 * 1024)
}

pub fn create_folder(path: &Path) -> io::Result<()> {
    around("mkdir", path, Needs::Space, || fs::create_dir(path))
}

/// Creates a folder and all folders above it. Folders that exist already are fine.
pub fn create_folders(path: &Path) -> io::Result<()> {
    if !fault::is_armed() {
        return fs::create_dir_all(path);
    }
    match create_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), create_folders)?;
            create_folder(path)
        }
        Err(_) if path.is_dir() => Ok(()),
        other => other,
    }
}

/// Opens a file for writing. An existing one is emptied.
pub fn create_file(path: &Path) -> io::Result<File> {
    around("create", path, Needs::Space, || File::create(path))
}

/// Opens a new file for writing. Fails if something is at `path` already.
pub fn create_new_file(path: &Path) -> io::Result<File> {
    around("create", path, Needs::Space, || File::create_new(path))
}

/// Opens a lock file, whose bytes do not matter; creates it if necessary.
pub fn touch(path: &Path) -> io::Result<File> {
    let open = || File::options().create(true).truncate(false).write(true).open(path);
    if fault::is_armed() && path.exists() {
        return open();
    }
    around("create", path, Needs::Space, open)
}

/// Opens a file for reading and for writing at its end; creates it and its folders if necessary.
pub fn append(path: &Path) -> io::Result<File> {
    let open = || {
        around("create", path, Needs::Space, || {
            File::options().create(true).append(true).read(true).open(path)
        })
    };
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), create_folders)?;
            open()
        }
        other => other,
    }
}

/// Empties an open file.
pub fn truncate(file: &File, path: &Path) -> io::Result<()> {
    around("truncate", path, Needs::Nothing, || file.set_len(0))
}

pub fn write_all(mut file: &File, bytes: &[u8], path: &Path) -> io::Result<()> {
    if !fault::is_armed() {
        return file.write_all(bytes);
    }
    // A test may kill the engine in the middle of a write, which leaves half of it.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    around("write", path, Needs::Space, || file.write_all(first))?;
    around("write", path, Needs::Space, || file.write_all(second))
}

/// Writes these bytes to a new file. Fails if something is at `path` already.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_all(&create_new_file(path)?, bytes, path)
}

/// Copies the bytes of one open file to another, which is empty: by reflink if the file system has
/// them, and without filling the holes of a sparse file.
pub fn copy_bytes(from: &File, to: &File, path: &Path) -> io::Result<()> {
    around("copy", path, Needs::Space, || copy_data(from, to))
}

/// Copies a file with its permissions; as [`copy_bytes`].
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    around("copy", to, Needs::Space, || {
        let (source, copy) = (regular::open(from)?, File::create(to)?);
        copy_data(&source, &copy)?;
        copy.set_permissions(source.metadata()?.permissions())
    })
}

fn copy_data(mut from: &File, mut to: &File) -> io::Result<()> {
    let metadata = from.metadata()?;
    let (length, held) = (metadata.len(), metadata.blocks().saturating_mul(BLOCK));
    let mut at = 0;
    // Files without holes, which are nearly all, are copied as a whole below.
    while held < length && at < length {
        let data = match seek(from, SeekFrom::Data(at)) {
            // Only a hole is left.
            Err(Errno::NXIO) => return to.set_len(length),
            // This file system knows of no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => break,
            other => other?,
        };
        let hole = seek(from, SeekFrom::Hole(data))?;
        for file in [from, to] {
            seek(file, SeekFrom::Start(data))?;
        }
        let copied = io::copy(&mut from.take(hole - data), &mut to)?;
        at = hole;
        if copied < hole - data {
            // It was truncated. Whoever needs to know that compares digests.
            return Ok(());
        }
    }
    for file in [from, to] {
        seek(file, SeekFrom::Start(at))?;
    }
    to.set_len(at)?;
    io::copy(&mut from, &mut to).map(drop)
}

/// The unit of `st_blocks`, whatever the block size of the file system is.
const BLOCK: u64 = 512;

/// Flushes a file or a folder to the disk, so that it survives a power cut.
pub fn flush(file: &File, path: &Path) -> io::Result<()> {
    around("fsync", path, Needs::Space, || file.sync_all())
}

pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    around("rename", to, Needs::Space, || fs::rename(from, to))
}

/// Renames, but fails if something is at `to` already.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    around("rename", to, Needs::Space, || {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // This file system has no such call, so look before renaming.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
                if to.symlink_metadata().is_err() =>
            {
                fs::rename(from, to)
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            other => other.map_err(Into::into),
        }
    })
}

/// Swaps two paths atomically.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    around("exchange", other, Needs::Space, || {
        renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(Into::into)
    })
}

pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    around("symlink", link, Needs::Space, || std::os::unix::fs::symlink(target, link))
}

pub fn hard_link(file: &Path, link: &Path) -> io::Result<()> {
    around("link", link, Needs::Space, || fs::hard_link(file, link))
}

pub fn set_permissions(path: &Path, permissions: Permissions) -> io::Result<()> {
    around("chmod", path, Needs::Nothing, || fs::set_permissions(path, permissions))
}

/// Lets everybody execute a file who may read it.
pub fn make_executable(file: &File, path: &Path) -> io::Result<()> {
    around("chmod", path, Needs::Nothing, || {
        let mode = file.metadata()?.permissions().mode();
        file.set_permissions(Permissions::from_mode(mode | ((mode & 0o444) >> 2)))
    })
}

pub fn set_modified(file: &File, time: SystemTime, path: &Path) -> io::Result<()> {
    around("utimens", path, Needs::Nothing, || file.set_modified(time))
}

/// Like [`set_modified`], without opening the file.
pub fn set_modified_at(path: &Path, time: SystemTime) -> io::Result<()> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).map_err(io::Error::other)?;
    let seconds = since.as_secs().try_into().map_err(io::Error::other)?;
    let time = Timespec { tv_sec: seconds, tv_nsec: since.subsec_nanos().into() };
    let times = Timestamps { last_access: time, last_modification: time };
    around("utimens", path, Needs::Nothing, || {
        utimensat(CWD, path, &times, AtFlags::empty()).map_err(Into::into)
    })
}

pub fn set_attribute(path: &Path, name: &str, value: &[u8]) -> io::Result<()> {
    around("setxattr", path, Needs::Space, || {
        setxattr(path, name, value, XattrFlags::empty()).map_err(Into::into)
    })
}

pub fn remove_file(path: &Path) -> io::Result<()> {
    around("unlink", path, Needs::Nothing, || fs::remove_file(path))
}

/// Removes an empty folder.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    around("rmdir", path, Needs::Nothing, || fs::remove_dir(path))
}

/// Removes a folder and everything in it, also where its owner may not write.
pub fn remove_folders(path: &Path) -> io::Result<()> {
    match remove_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            remove_all(path)
        }
        other => other,
    }
}

fn remove_all(path: &Path) -> io::Result<()> {
    if !fault::is_armed() || path.is_symlink() {
        return fs::remove_dir_all(path);
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => remove_all(&entry.path())?,
            false => remove_file(&entry.path())?,
        }
    }
    remove_folder(path)
}

/// Allows the owner everything in a folder and in all folders below it, and allows them to read the
/// files there. Follows no link, and leaves files alone that have a second name elsewhere.
pub fn open_up(path: &Path) -> io::Result<()> {
    if allow_owner(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            open_up(&entry?.path())?;
        }
    }
    Ok(())
}

/// As [`open_up`], for one file or folder.
pub fn allow_owner(path: &Path) -> io::Result<Metadata> {
    let metadata = fs::symlink_metadata(path)?;
    let needed = match (metadata.is_dir(), metadata.is_file() && metadata.nlink() == 1) {
        (true, _) => 0o700,
        (_, true) => 0o400,
        _ => 0,
    };
    let mode = metadata.mode() & 0o7777;
    if mode & needed != needed {
        set_permissions(path, Permissions::from_mode(mode | needed))?;
    }
    Ok(metadata)
}

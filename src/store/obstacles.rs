//! What stands in the store where a file or a folder of another kind belongs: a folder in the place
//! of an object, a file in the place of a folder, a FIFO, a link that leads nowhere. Nothing of it is
//! ever removed, only moved to quarantine: the store did not write it.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::rename_into;
use crate::files::unique;
use crate::store::Store;

/// Something that is not what the store keeps at this path.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Obstacle {
    pub path: PathBuf,
    /// "it is a folder, and a file belongs here".
    pub problem: String,
}

impl Obstacle {
    /// What stands where a file belongs; `None` if it is a file, or nothing.
    pub fn of_file(path: &Path) -> Option<Obstacle> {
        Obstacle::unless(path, "a file belongs here", Metadata::is_file)
    }

    /// What stands where a folder belongs; `None` if it is a folder, or nothing.
    pub fn of_folder(path: &Path) -> Option<Obstacle> {
        Obstacle::unless(path, "a folder belongs here", Metadata::is_dir)
    }

    fn unless(path: &Path, belongs: &str, fits: fn(&Metadata) -> bool) -> Option<Obstacle> {
        let itself = fs::symlink_metadata(path).ok()?;
        let found = match fs::metadata(path) {
            Ok(metadata) if fits(&metadata) => return None,
            Ok(metadata) if metadata.is_dir() => "a folder",
            Ok(metadata) if metadata.is_file() => "a file",
            Ok(metadata) if metadata.file_type().is_fifo() => "a FIFO",
            Ok(_) => "neither a file nor a folder",
            Err(_) if itself.is_symlink() => "a link that leads nowhere",
            Err(error) => {
                return Some(Obstacle { path: path.to_owned(), problem: error.to_string() });
            }
        };
        Some(Obstacle { path: path.to_owned(), problem: format!("it is {found}, and {belongs}") })
    }
}

impl Store {
    /// Everything that stands where one of the store's own folders belongs.
    pub fn blocked_folders(&self) -> Vec<Obstacle> {
        self.folders().iter().filter_map(|folder| Obstacle::of_folder(folder)).collect()
    }

    /// Moves something that does not belong into the store to quarantine.
    pub fn set_aside(&self, path: &Path) -> Result<(), FileError> {
        let moving = || FileError::in_store("moving to quarantine", path);
        let name = path.file_name().unwrap_or_default().display();
        let name = format!("{name}-{}", unique::random());
        if let Ok(metadata) = fs::symlink_metadata(path)
            && metadata.is_dir()
        {
            // Moving a folder changes its entry `..`, which takes the permission to write in it.
            let writable = Permissions::from_mode(metadata.permissions().mode() | 0o700);
            disk::set_permissions(path, writable).map_err(moving())?;
        }
        let quarantine = self.quarantine_folder();
        if Obstacle::of_folder(&quarantine).is_none() {
            return rename_into(path, &quarantine.join(name)).map_err(moving());
        }
        // First it moves out of its own way.
        let beside = self.root().join(&name);
        disk::rename(&quarantine, &beside).map_err(moving())?;
        rename_into(&beside, &quarantine.join(&name)).map_err(moving())?;
        match path == quarantine {
            true => Ok(()),
            false => self.set_aside(path),
        }
    }

    /// Does `write`, which puts a file at `target`. If something stands there or on the way, moves
    /// that to quarantine and tries again.
    pub(super) fn make_way<T>(
        &self,
        target: &Path,
        write: impl Fn() -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        let is_blocked = |error: &FileError| {
            let kinds = [io::ErrorKind::NotADirectory, io::ErrorKind::IsADirectory];
            kinds.contains(&error.source.kind())
                || error.source.kind() == io::ErrorKind::AlreadyExists
        };
        let first = write();
        if !first.as_ref().is_err_and(is_blocked) {
            return first;
        }
        let above = target.ancestors().skip(1).take_while(|folder| *folder != self.root());
        let mut folders: Vec<&Path> = above.collect();
        folders.reverse();
        let blocked = folders.into_iter().find_map(Obstacle::of_folder);
        match blocked.or_else(|| Obstacle::of_file(target)) {
            Some(obstacle) => {
                self.set_aside(&obstacle.path)?;
                write()
            }
            None => first,
        }
    }
}

//! A path in the project at which the engine puts something. The folders above it are opened one by
//! one, and none of these steps follows a link. So neither a link that was there before nor one that
//! a stage makes in the meantime leads the engine out of the project.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use walkdir::WalkDir;

use crate::files::disk;
use crate::files::file_error::FileError;

/// A path whose folder is open.
pub struct Place {
    /// The open folder, by which [`Place::path`] leads.
    _folder: OwnedFd,
    path: PathBuf,
    real: PathBuf,
}

impl Place {
    /// The place of `relative`, a clean path below `root`; `None` if its folder does not exist.
    pub fn find(root: &Path, relative: &Path) -> Result<Option<Place>, FileError> {
        Place::open(root, relative, false)
    }

    /// As [`Place::find`], but creates the folders that do not exist.
    pub fn make(root: &Path, relative: &Path) -> Result<Place, FileError> {
        let place = Place::open(root, relative, true)?;
        let target = root.join(relative);
        place.ok_or_else(|| FileError::found("making the folder of", &target, "it is gone again"))
    }

    fn open(root: &Path, relative: &Path, make: bool) -> Result<Option<Place>, FileError> {
        let target = root.join(relative);
        let at = || FileError::at("opening the folder of", &target);
        let found = |problem: &str| FileError::found("opening the folder of", &target, problem);
        let real = real_path(root, relative).map_err(|problem| found(&problem))?;
        let real_root = root.canonicalize().map_err(FileError::at("opening", root))?;
        let (Ok(inner), Some(name)) = (real.strip_prefix(&real_root), real.file_name()) else {
            return Err(found("it is not in the project"));
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder =
            openat(CWD, &real_root, flags, Mode::empty()).map_err(|error| at()(error.into()))?;
        let mut reached = real_root;
        for part in inner.parent().into_iter().flat_map(Path::components) {
            let part = part.as_os_str();
            let open = || openat(&folder, part, flags | OFlags::NOFOLLOW, Mode::empty());
            let opened = match open() {
                Err(Errno::NOENT) if !make => return Ok(None),
                Err(Errno::NOENT) => match disk::create_folder(&below(&folder, &reached, part)) {
                    Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                        return Err(at()(error));
                    }
                    _ => open(),
                },
                other => other,
            };
            reached.push(part);
            let is_other = |error| [Errno::NOTDIR, Errno::LOOP].contains(&error);
            folder = opened.map_err(|error| match is_other(error) {
                true => found(&format!("`{}` is not a folder", reached.display())),
                false => at()(error.into()),
            })?;
        }
        let path = below(&folder, &reached, name);
        Ok(Some(Place { _folder: folder, path, real }))
    }

    /// The path by the open folder: it leads to the same folder whatever happens to its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path without links, as it was when the folder was opened.
    pub fn real(&self) -> &Path {
        &self.real
    }
}

/// The path of `name` in an open folder; by the folder's own path, `reached`, where `/proc` is not
/// mounted.
fn below(folder: &OwnedFd, reached: &Path, name: &OsStr) -> PathBuf {
    let open = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    if open.symlink_metadata().is_ok() { open.join(name) } else { reached.join(name) }
}

/// The path of `relative` below `root`, with the links above it resolved. The error says why
/// nothing may be written there; it continues "`a/b`: …".
pub fn real_path(root: &Path, relative: &Path) -> Result<PathBuf, String> {
    let Ok(real_root) = root.canonicalize() else { return Ok(root.join(relative)) };
    let mut at = root.to_owned();
    let above = relative.parent().into_iter().flat_map(Path::components);
    for part in above {
        at.push(part);
        // A broken link is refused as well: its target may appear later.
        let inside = || at.canonicalize().is_ok_and(|real| real.starts_with(&real_root));
        if at.is_symlink() && !inside() {
            let link = at.strip_prefix(root).unwrap_or(&at).display();
            return Err(format!("the link `{link}` leads out of the project"));
        }
    }
    let name = relative.file_name().ok_or("it names no file")?;
    let real = resolved(&at).join(name);
    let inner = real.strip_prefix(&real_root).map_err(|_| "it is not in the project")?;
    let is_git = |part: Component| part.as_os_str().eq_ignore_ascii_case(".git");
    match inner.components().any(is_git) {
        true => Err("it is in a folder of git".to_owned()),
        false => Ok(real),
    }
}

/// The path with all links resolved, as far as it exists, and without `.` and `..`.
pub fn resolved(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let Some(last) = path.components().next_back() else { return PathBuf::new() };
    let mut real = path.parent().map(resolved).unwrap_or_default();
    match last {
        Component::ParentDir => drop(real.pop()),
        Component::CurDir => {}
        _ => real.push(last),
    }
    // What is behind a folder that does not exist and `..` may be a link again.
    real.canonicalize().unwrap_or(real)
}

/// The file or folder itself, and all that links in it lead to, without links.
pub fn reached_by(path: &Path) -> BTreeSet<PathBuf> {
    let mut reached = BTreeSet::from([resolved(path)]);
    let mut next: Vec<PathBuf> = reached.iter().cloned().collect();
    while let Some(path) = next.pop() {
        for entry in WalkDir::new(path).into_iter().flatten() {
            if entry.path_is_symlink() {
                let real = resolved(entry.path());
                if reached.insert(real.clone()) {
                    next.push(real);
                }
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::{Place, resolved};

    #[test]
    fn a_folder_that_becomes_a_link_after_it_was_opened_is_not_followed() {
        let (project, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = project.path();
        let place = Place::make(root, Path::new("a/b/file")).unwrap();
        fs::rename(root.join("a/b"), root.join("moved")).unwrap();
        symlink(elsewhere.path(), root.join("a/b")).unwrap();
        fs::write(place.path(), "text").unwrap();
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(root.join("moved/file")).unwrap(), "text");
        for path in ["a/b/file", "a/b/c/file"] {
            let error = Place::make(root, Path::new(path)).err().unwrap().to_string();
            assert!(error.contains("the link `a/b` leads out of the project"), "{error}");
        }
    }

    #[test]
    fn a_link_to_a_folder_of_the_project_leads_there_and_none_leads_into_git() {
        let project = tempfile::tempdir().unwrap();
        let root = project.path();
        fs::create_dir_all(root.join("real/.git")).unwrap();
        symlink("real", root.join("link")).unwrap();
        let place = Place::make(root, Path::new("link/new/file")).unwrap();
        fs::write(place.path(), "text").unwrap();
        assert_eq!(fs::read_to_string(root.join("real/new/file")).unwrap(), "text");
        assert!(Place::find(root, Path::new("link/none/file")).unwrap().is_none());
        for path in ["link/.git/config", "real/.GIT/config", ".git/x"] {
            assert!(Place::make(root, Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_path_is_resolved_as_far_as_it_exists() {
        let project = tempfile::tempdir().unwrap();
        let root = project.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        symlink("real", root.join("link")).unwrap();
        for path in ["link/none/x", "./none/../link/none/x", "link/../real/./none/x"] {
            assert_eq!(resolved(&root.join(path)), root.join("real/none/x"), "{path}");
        }
    }
}

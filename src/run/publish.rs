//! Published outputs: copies (or reflinks) of artifacts at paths in the project, such as
//! `answer.txt`. They are never hard links, so editing one does not change the store. A copy that
//! the user has edited is left alone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::getxattr;
use rustix::io::Errno;
use serde::Serialize;
use stages::Kind;

use crate::files::digest::Content;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::{Scratch, remove_left_beside, rename_into, temporary_beside};
use crate::store::Store;
use crate::store::index::{Index, exists};
use crate::store::intact::Damaged;
use crate::store::record::Artifact;

/// The outcome of publishing one output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Published {
    /// The output was already there.
    Unchanged,
    Written,
    /// The user has edited the file, so it stays.
    KeptEdited,
    /// Something is there that was never published, so it stays. A folder always stays.
    KeptForeign,
}

/// What is at a path to which an artifact is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtTarget {
    /// The artifact.
    Wanted,
    /// Nothing, or something that `pipe` published there or that the store holds anyway.
    Replaceable,
    /// Something else: it belongs to the user.
    Edited,
}

/// Makes `target` hold the artifact. What is there is replaced only if it is
/// [`AtTarget::Replaceable`] or `overwrite` is set. A folder that was never published is never
/// replaced.
pub fn publish(
    artifact: &Artifact,
    target: &Path,
    overwrite: bool,
    store: &Store,
    index: &Index,
    scratch: &Scratch,
) -> Result<Result<Published, Damaged>, FileError> {
    match look(artifact.content, target, store, index)? {
        AtTarget::Wanted => {
            let (note, text) = (store.published_note(target), note_text(artifact.content, target));
            if fs::read_to_string(&note).ok().as_ref() != Some(&text) {
                // A run was killed between the copy and the note. Without the note a later run may
                // take the copy for the user's own file, but that is no reason to fail now.
                remove_left_beside(target);
                let _ = scratch.write(&note, text.as_bytes(), false);
            }
            return Ok(Ok(Published::Unchanged));
        }
        AtTarget::Edited if !was_published(target, store) => {
            let is_folder = !target.is_symlink() && target.is_dir();
            if is_folder || !overwrite {
                return Ok(Ok(Published::KeptForeign));
            }
        }
        AtTarget::Edited if !overwrite => return Ok(Ok(Published::KeptEdited)),
        AtTarget::Edited | AtTarget::Replaceable => {}
    }
    let copy = match copy_out(artifact.content, store, scratch)? {
        Ok(copy) => copy,
        Err(damaged) => return Ok(Err(damaged)),
    };
    put_in_place(copy, target, store, scratch)?;
    Ok(Ok(Published::Written))
}

/// Finds out what is at `target`, where `wanted` is to be published.
pub fn look(
    wanted: Content,
    target: &Path,
    store: &Store,
    index: &Index,
) -> Result<AtTarget, FileError> {
    if !target.is_symlink() && !exists(target)? {
        return Ok(AtTarget::Replaceable);
    }
    // An unreadable file is not ours.
    let Ok(found) = index.hash(target) else { return Ok(AtTarget::Edited) };
    if found.content == wanted {
        return Ok(AtTarget::Wanted);
    }
    let note = fs::read_to_string(store.published_note(target));
    let ours = note.is_ok_and(|text| text == note_text(found.content, target))
        || store.object(found.content).exists()
        || carries_mark(target, found.content);
    Ok(if ours { AtTarget::Replaceable } else { AtTarget::Edited })
}

/// A finished copy of an artifact in the scratch folder.
pub struct PublishedCopy {
    content: Content,
    path: PathBuf,
}

/// Reads an artifact in full and copies it out of the store. The copy is writable.
pub fn copy_out(
    content: Content,
    store: &Store,
    scratch: &Scratch,
) -> Result<Result<PublishedCopy, Damaged>, FileError> {
    if let Err(damaged) = store.verify(content, scratch)? {
        return Ok(Err(damaged));
    }
    let path = scratch.path()?;
    write_out(content, &path, store)?;
    mark(&path, content);
    Ok(Ok(PublishedCopy { content, path }))
}

/// Swaps a finished copy into place in one step, so that at any moment either the old or the new
/// content is complete; the old content is removed afterwards. The note is written last: without it
/// the copy is still recognised by its mark.
pub fn put_in_place(
    copy: PublishedCopy,
    target: &Path,
    store: &Store,
    scratch: &Scratch,
) -> Result<(), FileError> {
    let content = copy.content;
    let replaced = match replace(&copy.path, target) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            // The store is on another disk, so make one more copy beside the target. If this
            // process is killed from here on, the missing note tells the next run to look for
            // leftovers.
            let _ = disk::remove_file(&store.published_note(target));
            remove_left_beside(target);
            let beside = temporary_beside(target);
            let moved = copy_tree(&copy.path, &beside).and_then(|()| {
                mark(&beside, content);
                replace(&beside, target)
            });
            if moved.is_err() {
                let _ = remove(&beside);
            }
            moved
        }
        other => other,
    };
    replaced.map_err(FileError::at("publishing", target))?;
    let note = store.published_note(target);
    scratch.write(&note, note_text(content, target).as_bytes(), false)
}

/// The extended attribute of a published copy: the content it was published with. It outlives the
/// store, so a run with another store, or after this one was removed, recognises its own copies.
const MARK: &str = "user.pipe.published";

/// Does nothing if the file system has no extended attributes: then the note has to suffice.
fn mark(copy: &Path, content: Content) {
    let _ = disk::set_attribute(copy, MARK, content.to_string().as_bytes());
}

fn carries_mark(target: &Path, content: Content) -> bool {
    let mut value = [0; 128];
    let length = getxattr(target, MARK, &mut value);
    length.is_ok_and(|length| value[..length] == *content.to_string().as_bytes())
}

/// Whether anything was ever published there, as far as the store or the file itself tells.
fn was_published(target: &Path, store: &Store) -> bool {
    store.published_note(target).exists() || getxattr(target, MARK, &mut [0; 128]).is_ok()
}

/// What was last published, and, for people, where.
fn note_text(content: Content, target: &Path) -> String {
    format!("{content}\n{}\n", target.display())
}

fn write_out(content: Content, target: &Path, store: &Store) -> Result<(), FileError> {
    match content.kind {
        Kind::File => copy_file(&store.object(content), target),
        Kind::Folder => {
            let object = store.object(content);
            let tree = store.tree(content);
            let tree = tree.ok_or_else(|| FileError::found("reading", &object, "it is damaged"))?;
            disk::create_folder(target).map_err(FileError::at("making the folder", target))?;
            for (relative, file) in &tree.0 {
                let copy = target.join(relative);
                if let Some(folder) = copy.parent() {
                    let made = disk::create_folders(folder);
                    made.map_err(FileError::at("making the folder", folder))?;
                }
                copy_file(&store.object(Content::file(file.digest)), &copy)?;
            }
            Ok(())
        }
    }
}

/// A reflink if the file system supports them: `io::copy` leaves that to the kernel.
fn copy_file(from: &Path, to: &Path) -> Result<(), FileError> {
    let source = File::open(from).map_err(FileError::at("reading", from))?;
    let target = disk::create_new_file(to).map_err(FileError::at("writing", to))?;
    disk::copy_bytes(&source, &target, to).map_err(FileError::at("writing", to))
}

/// Renames `copy` to `target`. If a folder is involved, which a rename cannot replace, exchanges
/// the two names and removes the old content.
fn replace(copy: &Path, target: &Path) -> io::Result<()> {
    let there = fs::symlink_metadata(target).ok();
    if there.is_none_or(|there| !there.is_dir() && !copy.is_dir()) {
        return rename_into(copy, target);
    }
    match disk::exchange(copy, target) {
        Err(error) if cannot_exchange(&error) => move_aside(copy, target)?,
        other => other?,
    }
    remove(copy)
}

fn cannot_exchange(error: &io::Error) -> bool {
    let number = Errno::from_io_error(error);
    number.is_some_and(|it| [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].contains(&it))
}

/// For file systems that cannot exchange two names: ends with the names exchanged, or as before.
/// Between its steps `target` does not exist for a moment; a run that finds it missing publishes
/// again.
fn move_aside(copy: &Path, target: &Path) -> io::Result<()> {
    let aside = temporary_beside(target);
    disk::rename(target, &aside)?;
    if let Err(error) = disk::rename(copy, target) {
        disk::rename(&aside, target)?;
        return Err(error);
    }
    disk::rename(&aside, copy)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => disk::remove_folders(path),
        false => disk::remove_file(path),
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        disk::create_folders(folder)?;
    }
    if !from.is_dir() {
        return disk::copy(from, to);
    }
    disk::create_folder(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        copy_tree(&entry.path(), &target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::run::publish::{move_aside, replace};

    #[test]
    fn without_exchange_the_names_are_swapped_all_the_same_or_nothing_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, file) in [("new", "one"), ("old", "two")] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join(file), name).unwrap();
        }
        move_aside(&path("new"), &path("old")).unwrap();
        assert_eq!(fs::read_to_string(path("old/one")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path("new/two")).unwrap(), "old");
        move_aside(&path("missing"), &path("old")).unwrap_err();
        assert_eq!(fs::read_to_string(path("old/one")).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_replaces_a_link_to_a_folder_and_not_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["new", "elsewhere"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), name).unwrap();
        }
        std::os::unix::fs::symlink(path("elsewhere"), path("target")).unwrap();
        replace(&path("new"), &path("target")).unwrap();
        assert_eq!(fs::read_to_string(path("target/file")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path("elsewhere/file")).unwrap(), "elsewhere");
        assert!(!path("new").exists() && !path("target").is_symlink());
    }
}

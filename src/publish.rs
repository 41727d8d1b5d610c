//! Published outputs: copies (or reflinks) of artifacts at paths in the tree, as `answer.txt`.
//! Never hard links, so that editing one does not reach into the store. A copy that the user has
//! edited is left alone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::getxattr;
use rustix::io::Errno;
use rustix::process::test_kill_process;
use serde::Serialize;
use stages::Kind;

use crate::digest::Content;
use crate::disk;
use crate::file_error::FileError;
use crate::index::{Index, exists};
use crate::record::Artifact;
use crate::scratch::{Scratch, maker_of_temporary, rename_into, temporary_beside};
use crate::store::{Damaged, Store};

/// What publishing an output came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Published {
    /// It was there already.
    Unchanged,
    Written,
    /// The user's own edits are there, and stay.
    KeptEdited,
}

/// Brings the path `target` to hold the artifact. What is there is replaced only if it was
/// published there by us, or is in the store anyway, or `overwrite` is set.
pub fn publish(
    artifact: &Artifact,
    target: &Path,
    overwrite: bool,
    store: &Store,
    index: &Index,
    scratch: &Scratch,
) -> Result<Result<Published, Damaged>, FileError> {
    let wanted = artifact.content;
    let found = match target.is_symlink() || exists(target)? {
        true => Some(index.source(target).map(|source| source.content).ok()),
        false => None,
    };
    let note = store.published_note(target);
    let noted = fs::read_to_string(&note).unwrap_or_default();
    if found == Some(Some(wanted)) {
        if noted != note_text(wanted, target) {
            // A run was killed between the copy and the note. Without it a later run may take the
            // copy for the user's own; but that is no reason to fail now.
            remove_left_beside(target);
            let _ = scratch.write(&note, note_text(wanted, target).as_bytes(), false);
        }
        return Ok(Ok(Published::Unchanged));
    }
    let ours = |content: Content| {
        noted == note_text(content, target)
            || store.object(content).exists()
            || carries_mark(target, content)
    };
    let may_replace = found.is_none_or(|found| found.is_some_and(ours));
    if !may_replace && !overwrite {
        return Ok(Ok(Published::KeptEdited));
    }
    if let Err(damaged) = store.verify(wanted, scratch)? {
        return Ok(Err(damaged));
    }
    let copy = scratch.path()?;
    copy_out(wanted, &copy, store)?;
    mark(&copy, wanted);
    put_in_place(&copy, target, &note)?;
    scratch.write(&note, note_text(wanted, target).as_bytes(), false)?;
    Ok(Ok(Published::Written))
}

/// The extended attribute of a published copy: what it held when it was published. It outlives
/// the store, so that a run with another store, or after this one was removed, knows its own.
const MARK: &str = "user.pipe.published";

/// Without effect where the file system has no extended attributes: then the note has to do.
fn mark(copy: &Path, content: Content) {
    let _ = disk::set_attribute(copy, MARK, content.to_string().as_bytes());
}

fn carries_mark(target: &Path, content: Content) -> bool {
    let mut value = [0; 128];
    let length = getxattr(target, MARK, &mut value);
    length.is_ok_and(|length| value[..length] == *content.to_string().as_bytes())
}

/// The note says what was last published, and for people where.
fn note_text(content: Content, target: &Path) -> String {
    format!("{content}\n{}\n", target.display())
}

/// Copies an artifact out of the store; the copies are writable.
fn copy_out(content: Content, target: &Path, store: &Store) -> Result<(), FileError> {
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

/// A reflink where the file system has them: `io::copy` leaves it to the kernel.
fn copy_file(from: &Path, to: &Path) -> Result<(), FileError> {
    let source = File::open(from).map_err(FileError::at("reading", from))?;
    let target = disk::create_new_file(to).map_err(FileError::at("writing", to))?;
    disk::copy_bytes(&source, &target, to).map_err(FileError::at("writing", to))
}

/// Swaps the finished copy in at once; what was there before is removed after.
fn put_in_place(copy: &Path, target: &Path, note: &Path) -> Result<(), FileError> {
    let replace = |copy: &Path| -> io::Result<()> {
        if !target.is_symlink() && (target.is_dir() || copy.is_dir() && target.exists()) {
            disk::exchange(copy, target)?;
            return remove(copy);
        }
        rename_into(copy, target)
    };
    let replaced = match replace(copy) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            // The store is on another disk: one more copy, beside the target.
            // Killed from here on, the missing note tells the next run to look for what is left.
            let _ = disk::remove_file(note);
            remove_left_beside(target);
            let beside = temporary_beside(target);
            let moved = copy_tree(copy, &beside).and_then(|()| replace(&beside));
            if moved.is_err() {
                let _ = remove(&beside);
            }
            moved
        }
        other => other,
    };
    replaced.map_err(FileError::at("publishing", target))
}

/// Removes what dead processes have left beside a target.
fn remove_left_beside(target: &Path) {
    let Some(folder) = target.parent() else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let maker = entry.file_name().to_str().and_then(|name| maker_of_temporary(name, target));
        if maker.is_some_and(|maker| test_kill_process(maker) == Err(Errno::SRCH)) {
            let _ = remove(&entry.path());
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { disk::remove_folders(path) } else { disk::remove_file(path) }
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

//! Published outputs: copies (or reflinks) of artifacts at paths in the tree, as `answer.txt`.
//! Never hard links, so that editing one does not reach into the store. A copy that the user has
//! edited is left alone.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, XattrFlags, getxattr, renameat_with, setxattr};
use serde::Serialize;
use stages::Kind;

use crate::digest::Content;
use crate::file_error::FileError;
use crate::index::{Index, exists};
use crate::record::Artifact;
use crate::scratch::{Scratch, rename_into, temporary_beside};
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
    if found == Some(Some(wanted)) {
        return Ok(Ok(Published::Unchanged));
    }
    let note = store.published_note(target);
    let ours = |content: Content| {
        let noted = fs::read_to_string(&note).is_ok_and(|text| text == note_text(content, target));
        noted || store.object(content).exists() || carries_mark(target, content)
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
    put_in_place(&copy, target)?;
    scratch.write(&note, note_text(wanted, target).as_bytes(), false)?;
    Ok(Ok(Published::Written))
}

/// The extended attribute of a published copy: what it held when it was published. It outlives
/// the store, so that a run with another store, or after this one was removed, knows its own.
const MARK: &str = "user.pipe.published";

/// Without effect where the file system has no extended attributes: then the note has to do.
fn mark(copy: &Path, content: Content) {
    let _ = setxattr(copy, MARK, content.to_string().as_bytes(), XattrFlags::empty());
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
            fs::create_dir(target).map_err(FileError::at("making the folder", target))?;
            for (relative, file) in &tree.0 {
                let copy = target.join(relative);
                if let Some(folder) = copy.parent() {
                    let made = fs::create_dir_all(folder);
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
    let mut source = File::open(from).map_err(FileError::at("reading", from))?;
    let mut target = File::create_new(to).map_err(FileError::at("writing", to))?;
    io::copy(&mut source, &mut target).map_err(FileError::at("writing", to))?;
    Ok(())
}

/// Swaps the finished copy in at once; what was there before is removed after.
fn put_in_place(copy: &Path, target: &Path) -> Result<(), FileError> {
    let replace = |copy: &Path| -> io::Result<()> {
        if !target.is_symlink() && (target.is_dir() || copy.is_dir() && target.exists()) {
            renameat_with(CWD, copy, CWD, target, RenameFlags::EXCHANGE)?;
            return remove(copy);
        }
        rename_into(copy, target)
    };
    let replaced = match replace(copy) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            // The store is on another disk: one more copy, beside the target.
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

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    if !from.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target: PathBuf = to.join(entry.file_name());
        copy_tree(&entry.path(), &target)?;
    }
    Ok(())
}

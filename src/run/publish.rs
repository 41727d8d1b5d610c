//! Published outputs: copies (or reflinks) of artifacts at paths in the project, such as
//! `answer.txt`. They are never hard links, so editing one does not change the store. A copy that
//! the user has edited is left alone, and what was never published is never replaced. All writing
//! into the project goes through a [`Place`], which no link leads elsewhere.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::Serialize;
use stages::Kind;

use crate::files::digest::Content;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::place::Place;
use crate::files::regular::read_text;
use crate::files::scratch::{Scratch, remove_left_beside, rename_into, temporary_beside};
use crate::files::stamp::Stamp;
use crate::run::ownership::{
    AtTarget, CHANGED, Found, Target, changed, holds_own_files, look, mark, note_text, noted,
};
use crate::store::Store;
use crate::store::index::Index;
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
    /// Something is there that was never published, so it stays, whatever the user asks for.
    KeptForeign,
}

/// Makes `target` hold the artifact. What was published there is replaced; if the user has edited
/// it, only if `overwrite` is set. Also returns where the user's own files of a replaced folder are
/// now.
pub fn publish(
    artifact: &Artifact,
    target: Target,
    overwrite: bool,
    store: &Store,
    index: &Index,
    scratch: &Scratch,
) -> Result<Result<(Published, Option<PathBuf>), Damaged>, FileError> {
    let mut tries = 1..4;
    loop {
        let published = publish_once(artifact, target, overwrite, store, index, scratch);
        match published {
            // Another engine may have published there at this moment.
            Err(error) if error.source.kind() == CHANGED && tries.next().is_some() => {}
            other => return other,
        }
    }
}

fn publish_once(
    artifact: &Artifact,
    target: Target,
    overwrite: bool,
    store: &Store,
    index: &Index,
    scratch: &Scratch,
) -> Result<Result<(Published, Option<PathBuf>), Damaged>, FileError> {
    let found = look(artifact.content, target, store, index)?;
    match found.at {
        AtTarget::Wanted => {
            let whole = target.whole();
            let (note, text) = (store.published_note(&whole), note_text(artifact.content, &whole));
            if read_text(&note).ok().as_ref() != Some(&text) {
                // A run was killed between the copy and the note. Without the note a later run may
                // take the copy for the user's own file, but that is no reason to fail now.
                if let Ok(Some(place)) = Place::find(target.root, target.path) {
                    remove_left_beside(place.path());
                }
                let _ = scratch.write(&note, text.as_bytes(), false);
            }
            return Ok(Ok((Published::Unchanged, None)));
        }
        AtTarget::Foreign => return Ok(Ok((Published::KeptForeign, None))),
        AtTarget::Edited if !overwrite => return Ok(Ok((Published::KeptEdited, None))),
        AtTarget::Edited | AtTarget::Replaceable => {}
    }
    let copy = match copy_out(artifact.content, store, scratch)? {
        Ok(copy) => copy,
        Err(damaged) => return Ok(Err(damaged)),
    };
    let aside = put_in_place(copy, target, &found, store, scratch)?;
    Ok(Ok((Published::Written, aside)))
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
    Ok(Ok(PublishedCopy { content, path }))
}

/// Swaps a finished copy into place in one step, so that at any moment either the old or the new
/// content is complete; the old content, which must still be what [`look`] found, is removed
/// afterwards. The note is written last: without it the copy is still recognised by its mark.
///
/// If a folder is replaced in which the user has files of their own, it is kept under another name,
/// which is returned.
pub fn put_in_place(
    copy: PublishedCopy,
    target: Target,
    found: &Found,
    store: &Store,
    scratch: &Scratch,
) -> Result<Option<PathBuf>, FileError> {
    let (content, whole) = (copy.content, target.whole());
    let place = Place::make(target.root, target.path)?;
    let there = place.path();
    let now = there.symlink_metadata().map(|metadata| Stamp::of(&metadata)).ok();
    if now != found.stamp {
        return Err(changed("publishing", target));
    }
    let keeps = found.at == AtTarget::Edited && holds_own_files(there, noted(target, store), store);
    mark(&copy.path, content, target);
    let replaced = match replace(&copy.path, there, keeps) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            // The store is on another disk, so make one more copy beside the target. If this
            // process is killed from here on, the missing note tells the next run to look for
            // leftovers.
            let _ = disk::remove_file(&store.published_note(&whole));
            remove_left_beside(there);
            let beside = temporary_beside(there);
            let moved = copy_tree(&copy.path, &beside).and_then(|()| {
                mark(&beside, content, target);
                replace(&beside, there, keeps)
            });
            if moved.is_err() {
                let _ = remove(&beside);
            }
            moved
        }
        other => other,
    };
    let aside = replaced.map_err(FileError::at("publishing", &whole))?;
    let note = store.published_note(&whole);
    scratch.write(&note, note_text(content, &whole).as_bytes(), false)?;
    Ok(aside.map(|name| target.path.with_file_name(name)))
}

fn write_out(content: Content, target: &Path, store: &Store) -> Result<(), FileError> {
    match content.kind {
        Kind::File => copy_file(content, target, store),
        Kind::Folder => {
            let object = store.object(content);
            let tree = store.tree(content);
            let tree = tree.ok_or_else(|| FileError::found("reading", &object, "it is damaged"))?;
            disk::create_folder(target).map_err(FileError::at("making the folder", target))?;
            let make = |folder: &Path| {
                disk::create_folders(folder).map_err(FileError::at("making the folder", folder))
            };
            for relative in &tree.empty_folders {
                make(&target.join(relative))?;
            }
            for (relative, file) in &tree.files {
                let copy = target.join(relative);
                copy.parent().map_or(Ok(()), make)?;
                copy_file(file.content(), &copy, store)?;
            }
            Ok(())
        }
    }
}

/// A reflink if the file system supports them: `io::copy` leaves that to the kernel.
fn copy_file(content: Content, to: &Path, store: &Store) -> Result<(), FileError> {
    let from = &store.object(content);
    let source = File::open(from).map_err(FileError::at("reading", from))?;
    let target = disk::create_new_file(to).map_err(FileError::at("writing", to))?;
    disk::copy_bytes(&source, &target, to).map_err(FileError::at("writing", to))?;
    match content.executable {
        true => disk::make_executable(&target, to).map_err(FileError::at("writing", to)),
        false => Ok(()),
    }
}

/// Renames `copy` to `target`. If a folder is involved, which a rename cannot replace, exchanges
/// the two names and removes the old content. With `keep`, renames the old content first, and
/// returns its new name.
fn replace(copy: &Path, target: &Path, keep: bool) -> io::Result<Option<OsString>> {
    let there = fs::symlink_metadata(target).ok();
    if there.as_ref().is_none_or(|there| !there.is_dir() && !copy.is_dir()) {
        return rename_into(copy, target).map(|()| None);
    }
    if keep {
        // In this order, so that a folder with files of the user is never where a later run tidies
        // up. If this process is killed in between, that run publishes again.
        let name = keep_beside(target)?;
        if let Err(error) = disk::rename_to_new(copy, target) {
            disk::rename_to_new(&target.with_file_name(&name), target)?;
            return Err(error);
        }
        return Ok(Some(name));
    }
    let exchange = || match disk::exchange(copy, target) {
        Err(error) if cannot_exchange(&error) => move_aside(copy, target),
        other => other,
    };
    match exchange() {
        // A folder that its owner may not write to cannot be moved.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            disk::open_up(target)?;
            exchange()?;
        }
        other => other?,
    }
    remove(copy).map(|()| None)
}

/// Renames what is at `target` to `<target>.kept`, or `.kept-2` and so on.
fn keep_beside(target: &Path) -> io::Result<OsString> {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".kept");
    for number in 2.. {
        match disk::rename_to_new(target, &target.with_file_name(&name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| name),
        }
        name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".kept-{number}"));
    }
    unreachable!("some name is free")
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
        replace(&path("new"), &path("target"), false).unwrap();
        assert_eq!(fs::read_to_string(path("target/file")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path("elsewhere/file")).unwrap(), "elsewhere");
        assert!(!path("new").exists() && !path("target").is_symlink());
    }
}

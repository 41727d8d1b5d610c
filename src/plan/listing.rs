//! The listings of folders that earlier runs read. A key holds one digest for a whole folder; its
//! listing tells which files differ. The store has the listings of folders that stages made, and a
//! run keeps those of the source folders that it reads, in `cache/listings`. A lost listing only
//! makes an explanation less detailed.

use std::path::PathBuf;

use stages::Kind;

use crate::files::digest::{Content, Digest};
use crate::files::file_error::FileError;
use crate::files::regular::read_text;
use crate::files::scratch::Scratch;
use crate::files::tree::Tree;
use crate::plan::inputs::InputLocation;
use crate::sources::Sources;
use crate::store::Store;

/// Longer listings are not kept: each state of the folder would take some megabytes.
const MOST_FILES: usize = 20_000;

/// The listing of a folder, if it is still known.
pub fn read(folder: Content, store: &Store, sources: &Sources) -> Option<Tree> {
    if folder.kind != Kind::Folder {
        return None;
    }
    if let Some(tree) = sources.index.tree(folder) {
        return Some(Tree::clone(&tree));
    }
    store.tree(folder).or_else(|| {
        let text = read_text(&file(folder, store)).ok()?;
        (Digest::of_bytes(text.as_bytes()) == folder.digest).then(|| Tree::parse(&text))?
    })
}

/// Keeps the listings of the source folders among a stage's inputs.
pub fn keep<'a>(
    inputs: impl Iterator<Item = &'a InputLocation>,
    store: &Store,
    sources: &Sources,
    scratch: &Scratch,
) -> Result<(), FileError> {
    for input in inputs {
        let InputLocation::Source(found) = input else { continue };
        let folder = found.hashed.content;
        let Some(tree) = sources.index.tree(folder) else { continue };
        let file = file(folder, store);
        if tree.files.len() + tree.empty_folders.len() <= MOST_FILES && !file.exists() {
            scratch.write(&file, tree.to_text().as_bytes(), false)?;
        }
    }
    Ok(())
}

fn file(folder: Content, store: &Store) -> PathBuf {
    let name = folder.digest.to_string();
    store.listings_folder().join(&name[..2]).join(name)
}

//! What was in a folder that an earlier run read. The key holds one digest for the whole folder;
//! its listing tells which file differs. A folder that a stage made has its listing in the store;
//! that of a source folder is kept by the run that read it, in `cache/listings`. Losing one costs
//! words in an explanation, nothing else.

use std::fs;
use std::path::PathBuf;

use stages::Kind;

use crate::files::digest::{Content, Digest};
use crate::files::file_error::FileError;
use crate::files::scratch::Scratch;
use crate::files::tree::Tree;
use crate::plan::Place;
use crate::plan::sources::Sources;
use crate::store::Store;

/// A longer listing is not kept: it would be some megabytes for every state of the folder.
const MOST_FILES: usize = 20_000;

/// The listing of a folder, if somebody still knows it.
pub fn read(folder: Content, store: &Store, sources: &Sources) -> Option<Tree> {
    if folder.kind != Kind::Folder {
        return None;
    }
    if let Some(tree) = sources.index.tree(folder) {
        return Some(Tree::clone(&tree));
    }
    store.tree(folder).or_else(|| {
        let text = fs::read_to_string(file(folder, store)).ok()?;
        (Digest::of_bytes(text.as_bytes()) == folder.digest).then(|| Tree::parse(&text))?
    })
}

/// Keeps the listings of the source folders among a stage's inputs.
pub fn keep<'a>(
    places: impl Iterator<Item = &'a Place>,
    store: &Store,
    sources: &Sources,
    scratch: &Scratch,
) -> Result<(), FileError> {
    for place in places {
        let Place::Source(found) = place else { continue };
        let folder = found.source.content;
        let Some(tree) = sources.index.tree(folder) else { continue };
        let file = file(folder, store);
        if tree.0.len() <= MOST_FILES && !file.exists() {
            scratch.write(&file, tree.to_text().as_bytes(), false)?;
        }
    }
    Ok(())
}

fn file(folder: Content, store: &Store) -> PathBuf {
    let name = folder.digest.to_string();
    store.listings_folder().join(&name[..2]).join(name)
}

//! Whose the file or folder is at a path to which something is published. What `pipe` published
//! there carries a mark, the store has a note about it, and the log of runs names it. Everything else
//! belongs to the user.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::lgetxattr;
use stages::Kind;
use walkdir::WalkDir;

use crate::files::digest::{Content, Digest};
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::place::Place;
use crate::files::regular::{keeps_execute_bits, read, read_text};
use crate::files::stamp::Stamp;
use crate::files::tree::Tree;
use crate::store::Store;
use crate::store::index::Index;

/// What is at a path to which an artifact is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtTarget {
    /// The artifact.
    Wanted,
    /// Nothing, or what `pipe` published there.
    Replaceable,
    /// What `pipe` published there, edited since by the user.
    Edited,
    /// Something else: a file or folder that was never published, or a link.
    Foreign,
}

/// What [`look`] found.
pub struct Found {
    pub at: AtTarget,
    /// Of what is there.
    pub stamp: Option<Stamp>,
}

/// A path of the project, and the project's folder.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub root: &'a Path,
    /// A clean path below the root.
    pub path: &'a Path,
}

impl Target<'_> {
    pub fn whole(&self) -> PathBuf {
        self.root.join(self.path)
    }
}

/// The kind of an error that says that somebody else changed the target.
pub(super) const CHANGED: io::ErrorKind = io::ErrorKind::ResourceBusy;

pub(super) fn changed(doing: &'static str, target: Target) -> FileError {
    let error = io::Error::new(CHANGED, "it changed in the meantime");
    FileError::at(doing, &target.whole())(error)
}

/// Finds out what is at `target`, where `wanted` is to be published.
pub fn look(
    wanted: Content,
    target: Target,
    store: &Store,
    index: &Index,
) -> Result<Found, FileError> {
    let whole = target.whole();
    let at = || FileError::at("reading", &whole);
    let nothing = Found { at: AtTarget::Replaceable, stamp: None };
    let Some(place) = Place::find(target.root, target.path)? else { return Ok(nothing) };
    let metadata = match place.path().symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(nothing),
        other => other.map_err(at())?,
    };
    let stamp = Stamp::of(&metadata);
    // By the real path, which the index knows from the last run.
    let hashed = index.hash_all(place.real()).ok().map(|hashed| hashed.content);
    if place.real().symlink_metadata().map(|now| Stamp::of(&now)).ok() != Some(stamp) {
        return Err(changed("reading", target));
    }
    let serves = match keeps_execute_bits(place.real(), &metadata) {
        true => Tree::serves,
        false => Tree::has_files_of,
    };
    let at = match hashed {
        Some(content) if compares(content, wanted, serves, store, index) => AtTarget::Wanted,
        _ => whose(&metadata, hashed, (&place, target), store, index),
    };
    Ok(Found { at, stamp: Some(stamp) })
}

/// Whose the file or folder at a place is. What is published carries a mark; and the store holds a
/// note about each path. An unreadable file has no content.
fn whose(
    metadata: &Metadata,
    content: Option<Content>,
    (place, target): (&Place, Target),
    store: &Store,
    index: &Index,
) -> AtTarget {
    let kind = match (metadata.is_dir(), metadata.is_file()) {
        (true, _) => Kind::Folder,
        (_, true) => Kind::File,
        _ => return AtTarget::Foreign,
    };
    let noted = noted(target, store);
    let marked = marked(place, target);
    let was_published = marked.is_some() || noted.is_some_and(|noted| noted.kind == kind);
    let is_ours = |content: Content| {
        // Nothing of the user's is lost with an execute bit or an empty folder.
        let mut published = [noted, marked].into_iter().flatten();
        published.any(|published| compares(content, published, Tree::has_files_of, store, index))
            || (store.object(content).exists()
                && (was_published || is_logged(content, target.path, store)))
    };
    match content.is_some_and(is_ours) {
        true => AtTarget::Replaceable,
        false if was_published => AtTarget::Edited,
        false => AtTarget::Foreign,
    }
}

/// Whether two contents are the same or, by their listings, are enough alike.
fn compares(
    found: Content,
    other: Content,
    alike: fn(&Tree, &Tree) -> bool,
    store: &Store,
    index: &Index,
) -> bool {
    let tree = |content: Content, tree: &dyn Fn() -> Option<Tree>| match content.kind {
        Kind::File => Some(Tree::of_file(content)),
        Kind::Folder => tree(),
    };
    let trees = || {
        let found = tree(found, &|| index.tree(found).map(|tree| Tree::clone(&tree)));
        found.zip(tree(other, &|| store.tree(other)))
    };
    let both = || trees().is_some_and(|(found, other)| alike(&found, &other));
    found == other || (found.kind == other.kind && both())
}

/// Whether some run published this content at this path, according to the log of runs. That knows
/// the copies in a project that was itself copied, without its marks.
fn is_logged(content: Content, path: &Path, store: &Store) -> bool {
    let (content, path) = (content.to_string(), path.to_str());
    let is_it = |output: &serde_json::Value| {
        output["path"].as_str() == path && output["artifact"]["content"] == content.as_str()
    };
    let runs = fs::read_dir(store.runs_folder()).into_iter().flatten().flatten();
    runs.filter_map(|run| serde_json::from_slice(&read(&run.path()).ok()?).ok()).any(
        |run: serde_json::Value| {
            run["published"].as_array().is_some_and(|all| all.iter().any(is_it))
        },
    )
}

/// Whether a folder that was published holds anything that was not. What is no longer known about
/// it counts as the user's.
pub(super) fn holds_own_files(folder: &Path, published: Option<Content>, store: &Store) -> bool {
    let tree = published.and_then(|content| store.tree(content)).unwrap_or_default();
    let is_own = |path: &Path| {
        let relative = path.strip_prefix(folder).ok().and_then(Path::to_str);
        !relative.is_some_and(|relative| tree.files.contains_key(relative))
    };
    let entries = WalkDir::new(folder).min_depth(1);
    folder.is_dir()
        && entries.into_iter().any(|entry| {
            entry.map_or(true, |entry| !entry.file_type().is_dir() && is_own(entry.path()))
        })
}

/// The extended attribute of a published copy: the content it was published with, and the path. It
/// outlives the store, so a run with another store, or after this one was removed, recognises its
/// own copies.
const MARK: &str = "user.pipe.published";

/// Does nothing if the file system has no extended attributes: then the note has to suffice.
pub(super) fn mark(copy: &Path, content: Content, target: Target) {
    let text = format!("{content} {}", mark_of_path(target));
    let _ = disk::set_attribute(copy, MARK, text.as_bytes());
}

/// The content that the file or folder at a place was published with.
fn marked(place: &Place, target: Target) -> Option<Content> {
    let mut value = [0; 256];
    let length = lgetxattr(place.path(), MARK, &mut value).ok()?;
    let text = std::str::from_utf8(&value[..length]).ok()?;
    // Earlier versions of `pipe` wrote the content alone. A user's copy of a published file has its
    // mark, but not its path.
    let (content, path) = text.split_once(' ').map_or((text, None), |(it, path)| (it, Some(path)));
    let here = path.is_none_or(|path| path == mark_of_path(target));
    content.parse().ok().filter(|_| here)
}

/// An attribute is too short for some paths.
fn mark_of_path(target: Target) -> String {
    let digest = Digest::of_bytes(target.path.as_os_str().as_encoded_bytes());
    digest.to_string()[..16].to_owned()
}

/// What was last published at a path, according to the store.
pub(super) fn noted(target: Target, store: &Store) -> Option<Content> {
    let text = read_text(&store.published_note(&target.whole())).ok()?;
    text.lines().next()?.parse().ok()
}

/// What was last published, and, for people, where.
pub(super) fn note_text(content: Content, target: &Path) -> String {
    format!("{content}\n{}\n", target.display())
}

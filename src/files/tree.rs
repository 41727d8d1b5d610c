//! The listing of a folder: its files' relative paths, digests and sizes, sorted. Its text is
//! canonical, its BLAKE3 is the folder's digest, and it is itself an object of the store
//! (`objects/ab/….tree`), while the files lie there one by one, equal ones once.
//!
//! Empty folders and file modes are not part of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::files::digest::{Content, Digest};
use crate::files::file_error::FileError;

/// Relative paths, with `/` between their parts, to what lies there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, TreeFile>);

/// One file of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeFile {
    pub digest: Digest,
    pub bytes: u64,
}

const HEADER: &str = "tree 1\n";

impl Tree {
    /// One line a file: digest, size, path.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(HEADER.len() + self.0.len() * 100);
        text.push_str(HEADER);
        for (path, file) in &self.0 {
            let _ = writeln!(text, "{} {} {path}", file.digest, file.bytes);
        }
        text
    }

    /// Reads such a text; `None` if it is not one, or names a path outside the folder.
    pub fn parse(text: &str) -> Option<Tree> {
        let mut files = BTreeMap::new();
        // Not `lines`, which would take a `\r` at the end of a name for a part of the line's end.
        for line in text.strip_prefix(HEADER)?.split_terminator('\n') {
            let mut parts = line.splitn(3, ' ');
            let digest = parts.next()?.parse().ok()?;
            let bytes = parts.next()?.parse().ok()?;
            let path = parts.next()?;
            let inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
            files.insert(inside.then(|| path.to_owned())?, TreeFile { digest, bytes });
        }
        Some(Tree(files))
    }

    pub fn content(&self) -> Content {
        Content::folder(Digest::of_bytes(self.to_text().as_bytes()))
    }

    pub fn bytes(&self) -> u64 {
        self.0.values().map(|file| file.bytes).sum()
    }
}

/// A file below some folder.
pub struct FoundFile {
    pub relative: String,
    pub path: PathBuf,
    /// A symbolic link, or reached through one: it is not ours to move.
    pub linked: bool,
}

/// The files below `folder`, sorted by nothing yet. Symbolic links are followed; what is neither
/// file nor folder shows when it is read.
pub fn files_below(folder: &Path) -> Result<Vec<FoundFile>, FileError> {
    let mut files = Vec::new();
    let mut linked_depth = usize::MAX;
    for entry in walkdir::WalkDir::new(folder).follow_links(true) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(folder).to_owned();
            FileError { doing: "listing", path, source: error.into() }
        })?;
        if entry.depth() <= linked_depth {
            linked_depth = if entry.path_is_symlink() { entry.depth() } else { usize::MAX };
        }
        if entry.file_type().is_dir() {
            continue;
        }
        let linked = linked_depth != usize::MAX;
        let path = entry.into_path();
        let relative = path.strip_prefix(folder).ok().and_then(Path::to_str);
        let Some(relative) = relative.filter(|relative| !relative.contains('\n')) else {
            return Err(FileError::found("listing", &path, "the name is not UTF-8 in one line"));
        };
        files.push(FoundFile { relative: relative.to_owned(), path, linked });
    }
    Ok(files)
}

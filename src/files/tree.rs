//! The listing of a folder: the relative paths, digests and sizes of its files, sorted. Its text
//! is canonical, and the BLAKE3 hash of that text is the folder's digest. The listing is an object
//! of the store (`objects/ab/….tree`); the files are objects of their own, equal files only once.
//!
//! Empty folders and file modes are not part of a listing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::files::digest::{Content, Digest};
use crate::files::file_error::FileError;

/// A folder's files by their relative paths, with `/` between the parts of a path.
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
    /// The canonical text: a header, then a line with digest, size and path for each file.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(HEADER.len() + self.0.len() * 100);
        text.push_str(HEADER);
        for (path, file) in &self.0 {
            let _ = writeln!(text, "{} {} {path}", file.digest, file.bytes);
        }
        text
    }

    /// Reads the text of [`Tree::to_text`]; `None` if it is damaged or names a path outside the
    /// folder.
    pub fn parse(text: &str) -> Option<Tree> {
        let mut files = BTreeMap::new();
        // `lines` would drop a `\r` at the end of a file's name.
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

    /// The folder's digest.
    pub fn content(&self) -> Content {
        Content::folder(Digest::of_bytes(self.to_text().as_bytes()))
    }

    /// The sum of all file sizes.
    pub fn bytes(&self) -> u64 {
        self.0.values().map(|file| file.bytes).sum()
    }
}

/// A file that [`files_below`] found.
pub struct FoundFile {
    pub relative: String,
    pub path: PathBuf,
    /// It is a symbolic link, or was reached through one, so it must not be moved.
    pub linked: bool,
}

/// All files below `folder`, in no particular order. Follows symbolic links. Reports what is
/// neither a file nor a folder too; reading it fails later.
pub fn files_below(folder: &Path) -> Result<Vec<FoundFile>, FileError> {
    let mut files = Vec::new();
    let mut linked_depth = usize::MAX;
    for entry in walkdir::WalkDir::new(folder).follow_links(true) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(folder).to_owned();
            FileError::at("listing", &path)(error.into())
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

//! The listing of a folder: the relative paths, digests and sizes of its files, whether they may be
//! executed, and the folders in it that are empty. Its text is canonical, and the BLAKE3 hash of that
//! text is the folder's digest. The listing is an object of the store (`objects/ab/….tree`); the
//! files are objects of their own, equal files only once.
//!
//! ```text
//! tree 1
//! <digest> <bytes> <path>             a file; the lines are sorted by path
//! ```
//!
//! A folder in which nothing may be executed and no folder is empty has this form. Any other folder
//! has the second form:
//!
//! ```text
//! tree 2
//! <digest> <bytes> <path>             a file
//! executable <digest> <bytes> <path>  a file with the execute bit, among the others by its path
//! folder <path>                       an empty folder; after all files, sorted by path
//! ```
//!
//! No two folders have the same text, whatever their files are called. A folder has one of the two
//! forms, and the first line says which. A path holds no line break, so each line is about one file or
//! folder. A line is read from its left: the first word says what the line is about (a digest has 64
//! hexadecimal digits, so it is neither of the words), neither a digest nor a size contains a space,
//! and all that follows is the path. So every text is read in one way only, and
//! [`Tree::parse`] returns the one folder that it was made from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::files::digest::{Content, Digest};
use crate::files::file_error::FileError;
use crate::files::regular::not_a_file;

/// What is below a folder, by relative paths, with `/` between the parts of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pub files: BTreeMap<String, TreeFile>,
    pub empty_folders: BTreeSet<String>,
}

/// One file of a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeFile {
    pub digest: Digest,
    pub bytes: u64,
    pub executable: bool,
}

impl TreeFile {
    pub fn content(&self) -> Content {
        match self.executable {
            true => Content::executable(self.digest),
            false => Content::file(self.digest),
        }
    }
}

const PLAIN: &str = "tree 1\n";
const WITH_MODES: &str = "tree 2\n";
const EXECUTABLE: &str = "executable ";
const FOLDER: &str = "folder ";

impl Tree {
    /// The canonical text; see the module.
    pub fn to_text(&self) -> String {
        let is_plain =
            self.empty_folders.is_empty() && !self.files.values().any(|file| file.executable);
        let header = if is_plain { PLAIN } else { WITH_MODES };
        let mut text = String::with_capacity(header.len() + self.files.len() * 100);
        text.push_str(header);
        for (path, file) in &self.files {
            let executable = if file.executable { EXECUTABLE } else { "" };
            let _ = writeln!(text, "{executable}{} {} {path}", file.digest, file.bytes);
        }
        for path in &self.empty_folders {
            let _ = writeln!(text, "{FOLDER}{path}");
        }
        text
    }

    /// Reads the text of [`Tree::to_text`]; `None` if it is damaged, names a path outside the
    /// folder, or is not the text of any folder: no path can be a file and a folder at once.
    pub fn parse(text: &str) -> Option<Tree> {
        let mut tree = Tree::default();
        let body = text.strip_prefix(PLAIN).or_else(|| text.strip_prefix(WITH_MODES))?;
        // `lines` would drop a `\r` at the end of a file's name.
        for line in body.split_terminator('\n') {
            if let Some(path) = line.strip_prefix(FOLDER) {
                tree.empty_folders.insert(path.to_owned());
                continue;
            }
            let rest = line.strip_prefix(EXECUTABLE);
            let mut parts = rest.unwrap_or(line).splitn(3, ' ');
            let digest = parts.next()?.parse().ok()?;
            let bytes = parts.next()?.parse().ok()?;
            let file = TreeFile { digest, bytes, executable: rest.is_some() };
            tree.files.insert(parts.next()?.to_owned(), file);
        }
        // Among others, this refuses two lines for one path, and the second form where the first
        // would do.
        (tree.is_possible() && tree.to_text() == text).then_some(tree)
    }

    fn is_possible(&self) -> bool {
        let leaves = || self.files.keys().chain(&self.empty_folders);
        let is_inside = |path: &String| path.split('/').all(|it| !matches!(it, "" | "." | ".."));
        let is_leaf =
            |path: &str| self.files.contains_key(path) || self.empty_folders.contains(path);
        let is_below_a_leaf =
            |path: &String| path.match_indices('/').any(|(end, _)| is_leaf(&path[..end]));
        leaves().all(|path| is_inside(path) && !is_below_a_leaf(path))
            && self.empty_folders.iter().all(|path| !self.files.contains_key(path))
    }

    /// The folder's digest.
    pub fn content(&self) -> Content {
        Content::folder(Digest::of_bytes(self.to_text().as_bytes()))
    }

    /// Whether this is the folder that is wanted, but for files that the user made executable.
    pub fn serves(&self, wanted: &Tree) -> bool {
        self.empty_folders == wanted.empty_folders
            && self.has_files_of(wanted)
            && self
                .files
                .values()
                .zip(wanted.files.values())
                .all(|(a, b)| a.executable >= b.executable)
    }

    /// Whether the files have the same paths and bytes.
    pub fn has_files_of(&self, other: &Tree) -> bool {
        self.files.keys().eq(other.files.keys())
            && self.files.values().zip(other.files.values()).all(|(a, b)| a.digest == b.digest)
    }

    /// A file as the only one of a folder, to compare files and folders by the same rules.
    pub fn of_file(content: Content) -> Tree {
        let Content { digest, executable, .. } = content;
        let file = TreeFile { digest, bytes: 0, executable };
        Tree { files: [(String::new(), file)].into(), ..Tree::default() }
    }

    /// The sum of all file sizes.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

/// What [`files_below`] found. Nothing is in a particular order.
#[derive(Default)]
pub struct FoundFiles {
    pub files: Vec<FoundFile>,
    /// Relative paths of folders in which nothing was found.
    pub empty_folders: BTreeSet<String>,
    /// Symbolic links that lead to nothing.
    pub dangling: Vec<PathBuf>,
}

/// A file that [`files_below`] found.
pub struct FoundFile {
    pub relative: String,
    pub path: PathBuf,
    /// It is a symbolic link, or was reached through one, so it must not be moved.
    pub linked: bool,
}

impl FoundFiles {
    /// Refuses symbolic links that lead to nothing.
    pub fn without_dangling(self) -> Result<FoundFiles, FileError> {
        match self.dangling.first() {
            Some(link) => Err(FileError::found("reading", link, "it is a link to nothing")),
            None => Ok(self),
        }
    }
}

/// All files below `folder`; a file itself has the empty relative path. Follows symbolic links.
/// Refuses what is neither a file nor a folder: reading it might never end.
pub fn files_below(folder: &Path) -> Result<FoundFiles, FileError> {
    let mut found = FoundFiles::default();
    let mut linked_depth = usize::MAX;
    // The last folder, as long as nothing was found in it.
    let mut empty: Option<(usize, String)> = None;
    for entry in WalkDir::new(folder).follow_links(true) {
        let entry = match entry {
            Err(error) if leads_to_nothing(&error) => {
                found.dangling.extend(error.path().map(Path::to_owned));
                continue;
            }
            Err(error) => return Err(unlistable(error, folder)),
            Ok(entry) => entry,
        };
        if entry.depth() <= linked_depth {
            linked_depth = if entry.path_is_symlink() { entry.depth() } else { usize::MAX };
        }
        let (depth, kind) = (entry.depth(), entry.file_type());
        let linked = linked_depth != usize::MAX;
        let path = entry.into_path();
        let relative = path.strip_prefix(folder).ok().and_then(Path::to_str);
        let Some(relative) = relative.filter(|relative| !relative.contains('\n')) else {
            return Err(FileError::found("listing", &path, "the name is not UTF-8 in one line"));
        };
        let relative = relative.to_owned();
        found.empty_folders.extend(
            empty.take().filter(|(above, _)| depth <= *above).map(|(_, relative)| relative),
        );
        if kind.is_dir() {
            empty = (depth > 0).then_some((depth, relative));
        } else if kind.is_file() {
            found.files.push(FoundFile { relative, path, linked });
        } else {
            return Err(FileError::at("reading", &path)(not_a_file(kind)));
        }
    }
    found.empty_folders.extend(empty.map(|(_, relative)| relative));
    Ok(found)
}

/// Whether this is about a symbolic link without a target: a dangling one, such as the lock file of
/// an editor, or one that leads to itself.
fn leads_to_nothing(error: &walkdir::Error) -> bool {
    let is_link = || error.path().is_some_and(Path::is_symlink);
    let kind = error.io_error().map(io::Error::kind);
    let to_nothing = matches!(kind, Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
        || error.io_error().and_then(io::Error::raw_os_error) == Some(libc::ELOOP);
    error.depth() > 0 && to_nothing && is_link()
}

fn unlistable(error: walkdir::Error, folder: &Path) -> FileError {
    let path = error.path().unwrap_or(folder).to_owned();
    match error.loop_ancestor().is_some() {
        true => FileError::found("listing", &path, "it is a link to a folder that it is in"),
        false => FileError::at("listing", &path)(error.into()),
    }
}

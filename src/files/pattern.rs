//! Patterns of file names, `data/part-*.jsonl`: several files as one input.

use std::io;
use std::path::{Path, PathBuf};

/// Why a pattern names no files.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    #[error("`{pattern}` is no pattern: {problem}")]
    Malformed { pattern: String, problem: &'static str },
    #[error("no file matches `{pattern}`")]
    NoMatch { pattern: String, root: PathBuf },
    #[error("`{}` cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// Rows are known by the name of their file.
    #[error("`{}` and `{}` would both be `{name}`", first.display(), second.display())]
    SameName { first: PathBuf, second: PathBuf, name: String },
}

impl PatternError {
    /// What to do.
    pub fn help(&self) -> String {
        match self {
            PatternError::Malformed { .. } => {
                "`*` is any part of a name, `?` a character, `[ab]` one of some, `**` any folders"
                    .to_owned()
            }
            PatternError::NoMatch { root, .. } => {
                format!("relative patterns start at `{}`", root.display())
            }
            PatternError::Unreadable { .. } => {
                "make the folder readable, or narrow the pattern".to_owned()
            }
            PatternError::SameName { .. } => "the names of the files must differ".to_owned(),
        }
    }
}

/// Whether a path in `root` is a pattern: it has `*`, `?` or `[…]`, and no file is called so.
pub fn is_pattern(text: &str, root: &Path) -> bool {
    text.contains(SPECIAL) && !root.join(text).exists()
}

const SPECIAL: [char; 3] = ['*', '?', '['];

/// The folder in which a pattern begins, without any special character, and the rest of the pattern.
pub fn folder_and_rest(pattern: &str) -> (&str, &str) {
    let special = pattern.find(SPECIAL).unwrap_or(pattern.len());
    pattern.split_at(pattern[..special].rfind('/').map_or(0, |slash| slash + 1))
}

/// A folder as the beginning of a pattern, which stands for itself.
pub fn escaped(folder: &str) -> String {
    glob::Pattern::escape(folder)
}

/// The files that a pattern matches, at least one, in the order of their paths. A relative pattern starts
/// at `root`.
pub fn matching(pattern: &str, root: &Path) -> Result<Vec<PathBuf>, PatternError> {
    let whole = Path::new(&escaped(&root.to_string_lossy())).join(pattern);
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let found = glob::glob_with(&whole.to_string_lossy(), options).map_err(|error| {
        PatternError::Malformed { pattern: pattern.to_owned(), problem: error.msg }
    })?;
    let paths: Result<Vec<PathBuf>, glob::GlobError> = found.collect();
    let paths = paths.map_err(|error| {
        let path = error.path().to_owned();
        PatternError::Unreadable { path, source: error.into() }
    })?;
    match paths.is_empty() {
        true => Err(PatternError::NoMatch { pattern: pattern.to_owned(), root: root.to_owned() }),
        false => Ok(paths),
    }
}

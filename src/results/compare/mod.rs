//! Two versions of an artifact compared, file by file: whether they hold the same bytes and, if
//! not, by how much they differ: safetensors tensor by tensor, JSONL by lines, all else by the first
//! byte that differs.

mod tensors;
mod verified;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use stages::Kind;

use crate::files::digest::{Content, Digest};
use crate::files::file_error::FileError;
use crate::files::tree::files_below;
use crate::store::Store;

pub use tensors::{TensorDifference, Unlike};
pub use verified::{Comparison, Verified};

/// The files of an artifact by their relative paths; one that is a file itself has the path
/// given for it.
pub type Files = BTreeMap<String, PathBuf>;

/// A file that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileDifference {
    pub file: String,
    #[serde(flatten)]
    pub how: How,
}

/// In what two files differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum How {
    OnlyInFirst,
    OnlyInSecond,
    /// Empty if only their headers differ. The greatest difference first.
    Tensors {
        tensors: usize,
        differing: Vec<TensorDifference>,
    },
    /// Lines are compared by their place, counted from 1.
    Lines {
        lines: u64,
        differing: u64,
        first_line: u64,
    },
    /// Counted from 0; where one ends, if it is the beginning of the other.
    Bytes {
        bytes: (u64, u64),
        first_byte: u64,
    },
}

/// The files at a path; `name` is for one that is no folder.
pub fn files_at(path: &Path, name: &str) -> Result<Files, FileError> {
    let metadata = fs::metadata(path).map_err(FileError::at("reading", path))?;
    if !metadata.is_dir() {
        return Ok(Files::from([(name.to_owned(), path.to_owned())]));
    }
    let files = files_below(path)?;
    Ok(files.into_iter().map(|file| (file.relative, file.path)).collect())
}

/// The files of an artifact in the store; `None` if its listing is gone or damaged.
pub fn files_in(store: &Store, content: Content, name: &str) -> Option<Files> {
    if content.kind == Kind::File {
        return Some(Files::from([(name.to_owned(), store.object(content))]));
    }
    let files = store.tree(content)?.0.into_iter();
    let object = |digest| store.object(Content::file(digest));
    Some(files.map(|(relative, file)| (relative, object(file.digest))).collect())
}

/// The files that are not the same.
pub fn compare(first: &Files, second: &Files) -> Result<Vec<FileDifference>, FileError> {
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        let how = match (first.get(name), second.get(name)) {
            (Some(first), Some(second)) => compare_files(first, second)?,
            (Some(_), None) => Some(How::OnlyInFirst),
            (None, _) => Some(How::OnlyInSecond),
        };
        differences.extend(how.map(|how| FileDifference { file: name.clone(), how }));
    }
    Ok(differences)
}

fn compare_files(first: &Path, second: &Path) -> Result<Option<How>, FileError> {
    if Digest::of_file(first)? == Digest::of_file(second)? {
        return Ok(None);
    }
    if let Some((tensors, differing)) = tensors::compare(first, second) {
        return Ok(Some(How::Tensors { tensors, differing }));
    }
    if is_jsonl(first)? && is_jsonl(second)? {
        return compare_lines(first, second).map(Some);
    }
    compare_bytes(first, second).map(Some)
}

fn open(path: &Path) -> Result<BufReader<File>, FileError> {
    let file = File::open(path).map_err(FileError::at("reading", path))?;
    Ok(BufReader::with_capacity(1 << 16, file))
}

/// Told by its first line, which is not longer than a line should be.
fn is_jsonl(path: &Path) -> Result<bool, FileError> {
    const LONGEST: u64 = 1 << 20;
    let mut line = Vec::new();
    let read = open(path)?.take(LONGEST).read_until(b'\n', &mut line);
    read.map_err(FileError::at("reading", path))?;
    Ok(line.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok())
}

fn compare_lines(first: &Path, second: &Path) -> Result<How, FileError> {
    let (mut one, mut other) = (open(first)?, open(second)?);
    let (mut line, mut other_line) = (Vec::new(), Vec::new());
    let (mut lines, mut differing, mut first_line) = (0, 0, 0);
    loop {
        line.clear();
        other_line.clear();
        let read = one.read_until(b'\n', &mut line).map_err(FileError::at("reading", first))?;
        let other_read = other.read_until(b'\n', &mut other_line);
        let other_read = other_read.map_err(FileError::at("reading", second))?;
        if read + other_read == 0 {
            return Ok(How::Lines { lines, differing, first_line });
        }
        lines += 1;
        if line != other_line {
            differing += 1;
            if differing == 1 {
                first_line = lines;
            }
        }
    }
}

fn compare_bytes(first: &Path, second: &Path) -> Result<How, FileError> {
    let (mut one, mut other) = (open(first)?, open(second)?);
    let mut first_byte = 0;
    loop {
        let a = one.fill_buf().map_err(FileError::at("reading", first))?;
        let b = other.fill_buf().map_err(FileError::at("reading", second))?;
        let both = a.len().min(b.len());
        let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
        first_byte += same as u64;
        if same < both || both == 0 {
            break;
        }
        one.consume(both);
        other.consume(both);
    }
    let size = |path: &Path| {
        let metadata = fs::metadata(path).map_err(FileError::at("reading", path));
        metadata.map(|metadata| metadata.len())
    };
    Ok(How::Bytes { bytes: (size(first)?, size(second)?), first_byte })
}

//! Two versions of an artifact compared, file by file: whether the bytes are the same and, if not,
//! how they differ: safetensors by tensor, JSONL by line, other files by the first differing byte.

pub mod verified;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use stages::Kind;
use stages::data::tensor_differences::{self, TensorDifference};

use crate::files::digest::{Content, Digest};
use crate::files::file_error::FileError;
use crate::files::regular::is_executable;
use crate::files::tree::files_below;
use crate::store::Store;

/// The files of an artifact by relative path, and its empty folders, whose names end with `/`. An artifact that is a single file has the path that
/// the caller gives.
pub type Files = BTreeMap<String, PathBuf>;

/// A file that differs between the two versions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileDifference {
    pub file: String,
    #[serde(flatten)]
    pub how: How,
}

/// How two files differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum How {
    OnlyInFirst,
    OnlyInSecond,
    /// The bytes are the same, but only one of the two has the execute bit.
    OnlyFirstExecutable,
    OnlySecondExecutable,
    /// The differing tensors, the greatest difference first; none if only the headers differ.
    Tensors {
        tensors: usize,
        differing: Vec<TensorDifference>,
    },
    /// Lines are compared by number, counted from 1.
    Lines {
        lines: u64,
        differing: u64,
        first_line: u64,
    },
    /// The first differing byte, counted from 0. If one file is a prefix of the other, where it
    /// ends.
    Bytes {
        bytes: (u64, u64),
        first_byte: u64,
    },
}

/// The files at a path; `name` is the relative path of a single file.
pub fn files_at(path: &Path, name: &str) -> Result<Files, FileError> {
    let metadata = fs::metadata(path).map_err(FileError::at("reading", path))?;
    if !metadata.is_dir() {
        return Ok(Files::from([(name.to_owned(), path.to_owned())]));
    }
    let found = files_below(path)?.without_dangling()?;
    let folders = found.empty_folders.into_iter().map(|relative| (relative + "/", path.to_owned()));
    Ok(found.files.into_iter().map(|file| (file.relative, file.path)).chain(folders).collect())
}

/// The files of an artifact in the store; `None` if its listing is missing or damaged.
pub fn files_in(store: &Store, content: Content, name: &str) -> Option<Files> {
    if content.kind == Kind::File {
        return Some(Files::from([(name.to_owned(), store.object(content))]));
    }
    let tree = store.tree(content)?;
    let files = tree.files.into_iter().map(|(name, file)| (name, store.object(file.content())));
    let folders = tree.empty_folders.into_iter().map(|name| (name + "/", store.object(content)));
    Some(files.chain(folders).collect())
}

/// Compares two versions, and lists the files that differ.
pub fn compare(first: &Files, second: &Files) -> Result<Vec<FileDifference>, FileError> {
    let names: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        let how = match (first.get(name), second.get(name)) {
            (Some(_), Some(_)) if name.ends_with('/') => None,
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
        let executable = |path: &Path| {
            let metadata = fs::metadata(path).map_err(FileError::at("reading", path));
            metadata.map(|metadata| is_executable(path, &metadata))
        };
        return Ok(match (executable(first)?, executable(second)?) {
            (true, false) => Some(How::OnlyFirstExecutable),
            (false, true) => Some(How::OnlySecondExecutable),
            _ => None,
        });
    }
    if let Some((tensors, differing)) = tensor_differences::compare(first, second) {
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

/// Whether the first line is a JSON object of reasonable length.
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

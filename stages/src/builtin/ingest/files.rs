//! The files of an input: one, or several that are read one after the other.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use crate::data::data_file::DataFile;
use crate::stage::error::StageError;

/// The files of an input, in the order in which they are read.
#[derive(Clone, Debug)]
pub struct InputFiles {
    /// What errors about all of them name.
    pub name: PathBuf,
    pub paths: Vec<PathBuf>,
    /// Whether rows are known by the name of their file too.
    pub are_named: bool,
}

impl InputFiles {
    pub fn one(path: &Path) -> InputFiles {
        InputFiles { name: path.to_owned(), paths: vec![path.to_owned()], are_named: false }
    }

    /// The file at `path`, or those of a folder, as the engine lays them out.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn at(path: &Path) -> Result<InputFiles, StageError> {
        if !path.is_dir() {
            return Ok(InputFiles::one(path));
        }
        let entries = std::fs::read_dir(path).map_err(StageError::io("reading", path))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths: Vec<PathBuf> =
            paths.collect::<Result<_, _>>().map_err(StageError::io("reading", path))?;
        paths.sort();
        Ok(InputFiles { name: path.to_owned(), paths, are_named: true })
    }
}

/// Opens the files of an input one after the other.
#[derive(Default)]
pub(super) struct OpenFiles {
    /// The name of the current one, if they are named.
    pub(super) name: Option<String>,
    following: VecDeque<PathBuf>,
    /// The number of the last row of the earlier ones, added up.
    pub(super) rows_before: u64,
    /// The number of the current row in its file.
    pub(super) row: u64,
    /// The bytes of the earlier ones and of the following ones.
    pub(super) bytes_around: [u64; 2],
}

impl OpenFiles {
    pub(super) fn new(files: &InputFiles) -> OpenFiles {
        let sizes = files.paths.iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len()));
        OpenFiles {
            name: files.are_named.then(String::new),
            following: files.paths.iter().cloned().collect(),
            bytes_around: [0, sizes.sum()],
            ..OpenFiles::default()
        }
    }

    /// Opens the next one.
    pub(super) fn open_next(&mut self) -> Result<Option<DataFile>, StageError> {
        let Some(path) = self.following.pop_front() else { return Ok(None) };
        if let Some(name) = &mut self.name {
            *name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        }
        let bytes = std::fs::metadata(&path).map_or(0, |found| found.len());
        self.bytes_around[1] = self.bytes_around[1].saturating_sub(bytes);
        // The engine passes links; error messages name the files that they point to.
        DataFile::open(&std::fs::canonicalize(&path).unwrap_or(path)).map(Some)
    }
}

//! An input of any number of files: a folder with one file for each, named after the variant or stage
//! that made it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::stage::error::StageError;

/// The files of predictions in a folder, sorted by name, with their names without `.jsonl`.
///
/// # Errors
/// The folder can't be read, is empty, or holds something else than files.
pub fn prediction_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, StageError> {
    let reading = |error| StageError::io("reading", folder)(error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(reading)? {
        let name = entry.map_err(reading)?.file_name();
        let path = folder.join(&name);
        let Some(name) = name.to_str() else {
            let problem = "the file's name is not UTF-8".to_owned();
            return Err(StageError::File { path, problem });
        };
        if path.is_dir() {
            let problem = "expected a file of predictions, found a folder".to_owned();
            return Err(StageError::File { path, problem });
        }
        found.push((name.strip_suffix(".jsonl").unwrap_or(name).to_owned(), path));
    }
    found.sort();
    if found.is_empty() {
        let problem = "holds no file of predictions".to_owned();
        return Err(StageError::File { path: folder.to_owned(), problem });
    }
    Ok(found)
}

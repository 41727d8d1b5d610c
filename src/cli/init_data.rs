//! The data that `pipe init` looks at: named files, files of the hub, which are downloaded first, or the
//! files of this folder.

use std::path::{Path, PathBuf};

use crate::cli::error::Error;
use crate::console::Console;
use crate::files::file_error::FileError;
use crate::init::{InitError, template};
use crate::pipeline::hub_data;
use crate::sources::downloads::Downloads;

/// A file of data on this disk, and how the pipeline names it.
pub struct FoundData {
    pub path: PathBuf,
    pub written: String,
}

/// Finds a file for a pipeline in `folder`. A file of the hub is downloaded.
pub fn found(data: &Path, folder: &Path, console: &Console) -> Result<FoundData, Error> {
    let Some(name) = data.to_str().filter(|text| text.starts_with("hub:")) else {
        return Ok(FoundData { path: data.to_owned(), written: template::source(data, folder)? });
    };
    let input = hub_data(name)
        .map_err(|wrong| InitError::NotOnHub { name: name.to_owned(), wrong: wrong.to_owned() })?;
    let downloads = Downloads::new(&folder.join("cache/downloads"), folder, false);
    if downloads.locate(&input).is_none() {
        console.note(&format!("downloading {name}"));
    }
    let path = downloads.fetch(&input, &mut |_| ())?;
    Ok(FoundData { path, written: name.to_owned() })
}

/// The file to train on and the one to classify: as named, or guessed from this folder's files.
pub fn files(
    data: Option<&Path>,
    test: Option<&Path>,
) -> Result<(PathBuf, Option<PathBuf>), Error> {
    let test = test.map(Path::to_owned);
    if let Some(data) = data {
        return Ok((data.to_owned(), test));
    }
    let here = Path::new(".");
    let entries = std::fs::read_dir(here).map_err(FileError::at("reading", here))?;
    let files = entries.filter_map(|entry| Some(PathBuf::from(entry.ok()?.file_name())));
    let is_free = |path: &PathBuf| path.is_file() && test.as_ref() != Some(path);
    let mut all: Vec<PathBuf> = files.filter(is_free).collect();
    all.sort();
    // Files of the other formats may be there for another reason.
    let of = |endings: &[&str]| {
        let files = all.iter().filter(|path| has_ending(path, endings)).cloned();
        files.collect::<Vec<_>>()
    };
    let usual = of(&TEXT_ENDINGS);
    let found = if usual.is_empty() { of(&OTHER_ENDINGS) } else { usual };
    let called =
        |path: &&PathBuf, name: &str| path.to_string_lossy().to_ascii_lowercase().starts_with(name);
    match &found[..] {
        [only] => return Ok((only.clone(), test)),
        [second, first] if called(&second, "test") && called(&first, "train") => {
            return Ok((first.clone(), test.or_else(|| Some(second.clone()))));
        }
        _ => {}
    }
    let names: Vec<String> = found.iter().map(|path| format!("`{}`", path.display())).collect();
    let found = match names.is_empty() {
        true => "there is no file of data here, such as .jsonl, .csv or .json".to_owned(),
        false => format!("there are {}", names.join(", ")),
    };
    Err(InitError::NoData { found }.into())
}

/// The usual endings of files of data, and those that files of other kinds may have as well.
const TEXT_ENDINGS: [&str; 4] = ["jsonl", "ndjson", "csv", "tsv"];
const OTHER_ENDINGS: [&str; 4] = ["json", "parquet", "arrow", "feather"];
const COMPRESSED: [&str; 4] = ["", ".gz", ".zst", ".bz2"];

fn has_ending(path: &Path, endings: &[&str]) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let stem = COMPRESSED.iter().rev().find_map(|ending| name.strip_suffix(ending));
    let stem = stem.unwrap_or(&name);
    endings.iter().any(|ending| stem.strip_suffix(ending).is_some_and(|it| it.ends_with('.')))
}

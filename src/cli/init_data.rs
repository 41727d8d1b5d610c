//! The data that `pipe init` looks at: named files, files of the hub, which are downloaded first, or the
//! files of this folder.

use std::path::{Path, PathBuf};

use stages::builtin::ingest::files::InputFiles;

use crate::cli::error::Error;
use crate::console::Console;
use crate::files::file_error::FileError;
use crate::files::pattern::{PatternError, is_pattern, matching};
use crate::init::{InitError, template};
use crate::pipeline::hub_data;
use crate::sources::downloads::Downloads;
use crate::store::Store;
use crate::text::suggest::quoted;

/// Data on this disk, and how the pipeline names it.
pub struct FoundData {
    pub files: InputFiles,
    /// A file, or a list of several files and patterns.
    pub written: Vec<String>,
}

/// Finds files for a pipeline in `folder`, whose store is `store`. A file of the hub is downloaded, the files of
/// a pattern are looked up.
pub fn found(
    data: &[PathBuf],
    folder: &Path,
    store: &Store,
    console: &Console,
) -> Result<FoundData, Error> {
    let (mut paths, mut written) = (Vec::new(), Vec::new());
    let mut are_named = data.len() > 1;
    let here = Path::new(".");
    for item in data {
        let text = item.to_str();
        if let Some(name) = text.filter(|text| text.starts_with("hub:")) {
            paths.push(downloaded(name, folder, store, console)?);
            written.push(name.to_owned());
        } else if let Some(pattern) = text.filter(|text| is_pattern(text, here)) {
            paths.extend(matching(pattern, here)?);
            written.push(template::source_of_pattern(pattern, folder)?);
            are_named = true;
        } else {
            paths.push(item.clone());
            written.push(template::source(item, folder)?);
        }
    }
    // Errors about one file name its download, errors about several the pattern.
    let names: Vec<String> = data.iter().map(|item| item.display().to_string()).collect();
    let files = match (&paths[..], are_named) {
        ([path], false) => InputFiles::one(path),
        _ => InputFiles { name: names.join(", ").into(), paths: in_order(paths)?, are_named },
    };
    Ok(FoundData { files, written })
}

/// In the order of their names, as the engine passes them on to `ingest`.
fn in_order(mut paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, PatternError> {
    paths.sort_by(|one, other| one.file_name().cmp(&other.file_name()));
    let same = paths.windows(2).find(|pair| pair[0].file_name() == pair[1].file_name());
    match same {
        Some([first, second, ..]) => {
            let name = first.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (first, second) = (first.clone(), second.clone());
            Err(PatternError::SameName { first, second, name })
        }
        _ => Ok(paths),
    }
}

fn downloaded(
    name: &str,
    folder: &Path,
    store: &Store,
    console: &Console,
) -> Result<PathBuf, Error> {
    let input = hub_data(name)
        .map_err(|wrong| InitError::NotOnHub { name: name.to_owned(), wrong: wrong.to_owned() })?;
    let downloads = Downloads::new(&store.root().join("downloads"), folder, false);
    if downloads.locate(&input).is_none() {
        console.note(&format!("downloading {name}"));
    }
    Ok(downloads.fetch(&input, &mut |_| ())?)
}

/// The files to train on and those to classify: as named, or guessed from this folder's files.
pub fn files(data: &[PathBuf], test: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<PathBuf>), Error> {
    let test = test.to_owned();
    if !data.is_empty() {
        return Ok((data.to_owned(), test));
    }
    let here = Path::new(".");
    let entries = std::fs::read_dir(here).map_err(FileError::at("reading", here))?;
    let files = entries.filter_map(|entry| Some(PathBuf::from(entry.ok()?.file_name())));
    let is_free = |path: &PathBuf| path.is_file() && !test.contains(path);
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
        [only] => return Ok((vec![only.clone()], test)),
        [second, first] if called(&second, "test") && called(&first, "train") => {
            let test = if test.is_empty() { vec![second.clone()] } else { test };
            return Ok((vec![first.clone()], test));
        }
        _ => {}
    }
    let found = match found.is_empty() {
        true => "there is no file of data here, such as .jsonl, .csv or .json".to_owned(),
        false => format!("there are {}", quoted(found.iter().map(|path| path.display()))),
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

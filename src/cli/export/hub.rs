//! `pipe export --hub`: a folder that is ready for the Hugging Face hub.

use std::fs;
use std::path::{Path, PathBuf};

use stages::StageError;
use stages::model::config::ModelConfig;
use stages::model::head::CheckpointHead;

use crate::cli::classify::found_model::{FoundModel, ModelFolder};
use crate::cli::error::Error;
use crate::cli::export::error::ExportError;
use crate::console::Console;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::regular;
use crate::files::scratch::{remove_left_beside, temporary_beside};
use crate::report::artifacts::Artifacts;
use crate::report::card::facts::{CardModel, ModelCard};
use crate::report::card::{Known, made, scored};
use crate::text::figures::{bytes, count};
use crate::text::shell::word;

/// The name of the card, which is not taken from the model's folder.
const CARD: &str = "README.md";

/// Writes the model with its card into a new folder. Returns the command that uploads it.
pub fn export(
    found: &FoundModel,
    config: &ModelConfig,
    target: &Path,
    console: &Console,
) -> Result<String, Error> {
    check_free(target)?;
    let card = card(found, config, target)?;
    let files = files(&found.folder.path())?;
    remove_left_beside(target);
    let temporary = temporary_beside(target);
    let written = write(&files, &card, &temporary)
        .and_then(|size| disk::rename(&temporary, target).map(|()| size));
    let size = written.map_err(|error| {
        // The first error is the one to report.
        let _ = disk::remove_folders(&temporary);
        FileError::at("writing", target)(error)
    })?;
    let (path, files) = (target.display(), count(files.len() + 1, "file"));
    console.note(&format!("wrote {path}: {files}, {}", bytes(size)));
    console
        .note(&format!("{CARD} names no license and no language: add `license:` and `language:`"));
    if card.made.is_none() {
        console.note(&format!("{CARD} has no figures: there is no record of this model"));
    }
    let repository = word(&format!("OWNER/{}", card.name));
    Ok(format!("hf upload {repository} {}\n", word(&path.to_string())))
}

/// Refuses a folder that has anything in it: it may be a repository with a history of its own.
fn check_free(target: &Path) -> Result<(), Error> {
    let is_taken = match fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => fs::symlink_metadata(target).is_ok(),
    };
    if is_taken { Err(ExportError::FolderTaken { path: target.to_owned() }.into()) } else { Ok(()) }
}

fn card(found: &FoundModel, config: &ModelConfig, target: &Path) -> Result<ModelCard, Error> {
    let model = described(&found.folder.path(), config)
        .map_err(|error| ExportError::Model(Box::new(error)))?;
    let target = std::path::absolute(target).map_err(FileError::at("locating", target))?;
    let name = repository_name(&target.file_name().unwrap_or_default().to_string_lossy());
    let (ModelFolder::Linked(stored), Some(project)) = (&found.folder, &found.project) else {
        return Ok(ModelCard { name, model, made: None, scored: Vec::new() });
    };
    let mut standing = project.standing();
    // Where the stage is not up to date, this is the record that the model is from.
    let stage = &stored.record.stage;
    standing.insert(stage.clone(), stored.record.clone());
    let place = standing.keys().position(|name| name == stage).unwrap_or_default();
    let stages = standing.into_iter().map(|(name, record)| (name, Some(record))).collect();
    let artifacts = Artifacts::new(&project.store, Some(&project.pipeline), stages);
    let content = artifacts.content(place, &stored.output);
    let sources = project.sources(true, true);
    let known = Known { artifacts: &artifacts, pipeline: &project.pipeline, sources: &sources };
    Ok(ModelCard {
        name,
        model,
        made: made(known, place),
        scored: content.map_or_else(Vec::new, |it| scored(known, it)),
    })
}

/// The longest name that leaves room for an owner in the hub's 96 characters, since an owner has up to 42.
const LONGEST_NAME: usize = 96 - 43;

/// A name that the hub allows for a repository (`validate_repo_id` of `huggingface_hub`): no `--` and no `..`,
/// neither `-` nor `.` at its ends, and not the end `.git`.
fn repository_name(folder: &str) -> String {
    let mut name = String::new();
    for character in folder.chars() {
        let allowed = character.is_ascii_alphanumeric() || "._-".contains(character);
        let character = if allowed { character } else { '-' };
        // `.-` and `-.` are allowed, but nobody wants them.
        let is_joint = |it: char| ".-".contains(it);
        if name.len() < LONGEST_NAME && !(is_joint(character) && name.ends_with(is_joint)) {
            name.push(character);
        }
    }
    let mut name = name.trim_matches(['.', '-']);
    while let Some(rest) = name.strip_suffix(".git") {
        name = rest.trim_end_matches(['.', '-']);
    }
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

fn described(folder: &Path, config: &ModelConfig) -> Result<CardModel, StageError> {
    let CheckpointHead { labels, task, .. } = CheckpointHead::required(folder, config)?;
    let head = &config.head;
    let (threshold, windows) = (head.threshold, head.windows);
    let thresholds = head.thresholds.clone();
    Ok(CardModel { task, labels, threshold, thresholds, windows })
}

/// The files of a model folder, but no hidden ones and no older card.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(FileError::at("reading", folder))? {
        let path = entry.map_err(FileError::at("reading", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with('.') && name != CARD && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Writes everything into a new folder. Returns its size in bytes.
fn write(files: &[PathBuf], card: &ModelCard, folder: &Path) -> std::io::Result<u64> {
    disk::create_folders(folder)?;
    let text = card.markdown();
    disk::write_new(&folder.join(CARD), text.as_bytes())?;
    let mut size = text.len() as u64;
    for file in files {
        let target = folder.join(file.file_name().unwrap_or_default());
        let from = regular::open(file)?;
        size += from.metadata()?.len();
        let to = disk::create_new_file(&target)?;
        disk::copy_bytes(&from, &to, &target)?;
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_folder_becomes_one_that_the_hub_allows() {
        let names = [
            ("my-tweets_2.1", "my-tweets_2.1"),
            ("my model (1)", "my-model-1"),
            ("ünï", "n"),
            ("a..b--c", "a.b-c"),
            ("model.git", "model"),
            ("a.git.git", "a"),
            ("-abc.", "abc"),
            ("...", "model"),
            ("", "model"),
        ];
        for (folder, name) in names {
            assert_eq!(repository_name(folder), name, "{folder}");
        }
        assert_eq!(repository_name(&"a".repeat(200)).len(), 53);
    }
}

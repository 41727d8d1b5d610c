//! The view of a folder: its files with their sizes and, for a model folder, the essentials of
//! `config.json` and the number of parameters.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use walkdir::WalkDir;

use super::error::ShowError;
use super::tensors;

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Folder {
    pub bytes: u64,
    /// The number of files, including those in folders below.
    pub files: u64,
    /// The first files, sorted by path.
    pub first: Vec<FileSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSize {
    /// Relative to the folder.
    pub path: String,
    pub bytes: u64,
}

/// The essentials of a model folder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    /// The fields of `config.json` that describe the architecture and its sizes.
    pub config: BTreeMap<String, Value>,
    /// The number of parameters in the safetensors files, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
}

const ESSENTIALS: [&str; 8] = [
    "architectures",
    "id2label",
    "hidden_size",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "vocab_size",
];

/// Lists a folder. Links are followed, so that links into a shared cache show real sizes.
pub(super) fn read(path: &Path, rows: usize) -> Result<Folder, ShowError> {
    let mut folder = Folder { bytes: 0, files: 0, first: Vec::new(), model: model(path) };
    for entry in WalkDir::new(path).follow_links(true).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(path).to_owned();
            ShowError::Io { doing: "reading", path, source: error.into() }
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        let metadata = entry.metadata().map_err(|error| ShowError::Io {
            doing: "reading",
            path: entry.path().to_owned(),
            source: error.into(),
        })?;
        folder.files += 1;
        folder.bytes += metadata.len();
        if folder.first.len() < rows {
            let inside = entry.path().strip_prefix(path).unwrap_or(entry.path());
            let path = inside.to_string_lossy().into_owned();
            folder.first.push(FileSize { path, bytes: metadata.len() });
        }
    }
    Ok(folder)
}

/// The essentials of a model folder. A folder whose `config.json` cannot be read is shown like any
/// other: its files say more than an error would.
fn model(path: &Path) -> Option<Model> {
    let text = std::fs::read_to_string(path.join("config.json")).ok()?;
    let all: BTreeMap<String, Value> = serde_json::from_str(&text).ok()?;
    let config: BTreeMap<String, Value> =
        all.into_iter().filter(|(name, _)| ESSENTIALS.contains(&name.as_str())).collect();
    if !config.contains_key("model_type") {
        return None;
    }
    Some(Model { config, parameters: parameters(path) })
}

fn parameters(folder: &Path) -> Option<u64> {
    let mut total = None;
    for entry in std::fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let file = File::open(&path).ok()?;
            let bytes = file.metadata().ok()?.len();
            let numbers = tensors::read(&path, file, bytes, 0).ok()?.numbers;
            total = Some(total.unwrap_or(0u64).saturating_add(numbers));
        }
    }
    total
}

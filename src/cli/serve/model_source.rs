//! Where a running service finds its model.

use std::path::PathBuf;

use crate::cli::classify::found_model::{FoundModel, find_model};
use crate::cli::error::Error;
use crate::cli::options::Globals;
use crate::console::Console;
use crate::files::digest::Digest;
use crate::files::tree::files_below;
use crate::pipeline::Overrides;
use crate::serve::model::ServedModel;

/// Where the model comes from, each time that it is loaded.
pub struct ModelSource {
    /// As the user named it.
    pub model: Option<String>,
    pub device: String,
    /// Instead of that of `predict`.
    pub precision: Option<String>,
    pub overrides: Overrides,
    pub globals: Globals,
}

impl ModelSource {
    /// The folder that the user has named, if it is one.
    pub fn folder(&self) -> Option<PathBuf> {
        let named = self.model.as_deref().map(PathBuf::from);
        named.filter(|path| path.to_str().is_some_and(|name| name.contains('/')) || path.is_dir())
    }

    pub fn find(&self, console: &Console) -> Result<FoundModel, Error> {
        let found = find_model(self.model.as_deref(), &self.globals, &self.overrides, console)?;
        Ok(found.with_precision(self.precision.as_deref()))
    }

    /// Loads what was found.
    pub fn load(&self, found: &FoundModel) -> Result<ServedModel, Error> {
        // Before the files are read: if they change meanwhile, they have another one afterwards.
        let digest = self.digest(found)?;
        let (classifier, ingest) = found.open(&self.device)?;
        let name = self.model.clone().unwrap_or("the model of the pipeline".to_owned());
        let turns = found.tokenize.optional_int("context");
        let turns = turns.map(|turns| usize::try_from(turns).unwrap_or(0));
        Ok(ServedModel { classifier, ingest, turns, name, digest })
    }

    /// A digest of what was found: of the files of the model, and of the parameters.
    pub fn digest(&self, found: &FoundModel) -> Result<String, Error> {
        let folder = found.folder.path();
        let mut text = format!("{:?} {:?} {:?}", found.ingest, found.tokenize, found.predict);
        for file in files_below(&folder)?.without_dangling()?.files {
            text.push_str(&format!("\n{} {}", file.relative, Digest::of_file(&file.path)?));
        }
        Ok(Digest::of_bytes(text.as_bytes()).to_string())
    }
}

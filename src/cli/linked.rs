//! An artifact of the store as a temporary file or folder with its own file names, for code that
//! reads by name.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cli::error::Error;
use crate::files::digest::Content;
use crate::files::file_error::FileError;
use crate::run::prepare::link_artifact;
use crate::store::Store;

/// A temporary folder of links into the store. It is removed on drop.
pub struct LinkedArtifact {
    path: PathBuf,
    _folder: TempDir,
}

impl LinkedArtifact {
    /// Links the artifact under `name` into a new temporary folder. Fails if its bytes no longer
    /// match its digest.
    pub fn new(content: Content, name: &str, store: &Store) -> Result<LinkedArtifact, Error> {
        check_intact(store, content)?;
        let folder = tempfile::tempdir().map_err(FileError::at("making", &std::env::temp_dir()))?;
        let path = folder.path().join(name);
        link_artifact(content, &path, store)?;
        Ok(LinkedArtifact { path, _folder: folder })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Fails if the object's bytes no longer match its digest.
pub(super) fn check_intact(store: &Store, content: Content) -> Result<(), Error> {
    if store.is_intact(content) {
        return Ok(());
    }
    let what = "it is damaged; `pipe cache verify --repair` moves it into quarantine";
    Err(FileError::found("reading", &store.object(content), what).into())
}

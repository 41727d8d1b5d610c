//! An artifact of the store as a file or folder under its own names, for readers that go by them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cli::error::Error;
use crate::files::digest::Content;
use crate::files::file_error::FileError;
use crate::run::prepare::link_artifact;
use crate::store::Store;

/// Links into the store that last as long as this.
pub struct LinkedArtifact {
    path: PathBuf,
    _folder: TempDir,
}

impl LinkedArtifact {
    /// `name` is what the artifact is called in its temporary folder. One whose bytes are no longer
    /// those of its digest is refused.
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

/// Damaged bytes are not shown as if they were the result.
pub(super) fn check_intact(store: &Store, content: Content) -> Result<(), Error> {
    if store.is_intact(content) {
        return Ok(());
    }
    let what = "it is damaged; `pipe cache verify --repair` puts it out of the way";
    Err(FileError::found("reading", &store.object(content), what).into())
}

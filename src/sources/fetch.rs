//! Locating and fetching a source, by its kind.

use std::path::PathBuf;

use crate::pipeline::Input;
use crate::sources::download_error::DownloadError;
use crate::sources::downloads::{DownloadProgress, Downloads};
use crate::sources::hub_data::DataFile;
use crate::sources::{hub, url};

impl Downloads {
    /// The path of a source; `None` if [`Downloads::fetch`] has to get it first. Uses no network
    /// and writes nothing, so planning may call it.
    pub fn locate(&self, input: &Input) -> Option<PathBuf> {
        match input {
            Input::Path(path) => Some(path.clone()),
            Input::Url { url, blake3 } => url::locate(self, &url::name(url, blake3.as_deref())),
            Input::Hub { repository, revision } => hub::locate(self, repository, revision),
            Input::HubData { repository, revision, path } => {
                DataFile { repository, revision, path }.locate(self)
            }
            Input::Artifact { .. } => None,
        }
    }

    /// Gets a source, from the network if necessary, and returns its path.
    ///
    /// # Errors
    ///
    /// See [`DownloadError`]; [`DownloadError::hint`] says what the user can do about it.
    pub fn fetch(
        &self,
        input: &Input,
        progress: &mut dyn FnMut(DownloadProgress),
    ) -> Result<PathBuf, DownloadError> {
        if let Some(path) = self.locate(input) {
            return Ok(path);
        }
        match input {
            Input::Path(path) => Ok(path.clone()),
            Input::Url { url, blake3 } => url::fetch(self, url, blake3.as_deref(), progress),
            Input::Hub { repository, revision } => hub::fetch(self, repository, revision, progress),
            Input::HubData { repository, revision, path } => {
                DataFile { repository, revision, path }.fetch(self, progress)
            }
            Input::Artifact { .. } => Err(DownloadError::Artifact { what: input.to_string() }),
        }
    }
}

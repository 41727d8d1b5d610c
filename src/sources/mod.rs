//! Sources, the inputs that no stage makes: files and folders of the project, files behind a URL,
//! and models and data of the Hugging Face hub. [`Sources`] finds them on this disk and knows their digests;
//! [`downloads`] fetches what is not there yet.

mod checksum;
pub mod download_error;
pub mod downloads;
mod fetch;
mod http;
mod hub;
mod hub_cache;
mod hub_data;
mod hub_repository;
pub mod hub_settings;
mod resumable;
mod url;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::files::file_error::FileError;
use crate::pipeline::Input;
use crate::sources::downloads::Downloads;
use crate::store::index::{Hashed, Index, exists};

/// The sources of a pipeline. Each is hashed at most once per process.
pub struct Sources {
    pub index: Index,
    downloads: Downloads,
    found: Mutex<BTreeMap<PathBuf, Hashed>>,
}

/// A source that is on this disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSource {
    pub path: PathBuf,
    pub hashed: Hashed,
}

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("there is no `{}`", path.display())]
    Missing { path: PathBuf },
    #[error(
        "`{}` is there in place of {}, but its BLAKE3 digest is {}, the pipeline says {}",
        _0.path.display(), _0.url, _0.found, _0.expected
    )]
    WrongDigest(Box<WrongDigest>),
    #[error(transparent)]
    File(#[from] FileError),
}

/// A file that lies where a download belongs, but does not have the digest that the pipeline pins.
#[derive(Debug)]
pub struct WrongDigest {
    pub path: PathBuf,
    pub url: String,
    pub expected: String,
    pub found: String,
}

impl SourceError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SourceError::File(error) => error.hint().map(str::to_owned),
            SourceError::Missing { .. } => None,
            SourceError::WrongDigest(wrong) => {
                Some(format!("remove `{}` to download it again", wrong.path.display()))
            }
        }
    }
}

impl Sources {
    /// The sources of the project in `root`, with the store in `store_root`.
    pub fn new(index: Index, store_root: &Path, root: &Path, offline: bool) -> Sources {
        let downloads = Downloads::new(&store_root.join("downloads"), root, offline);
        Sources { index, downloads, found: Mutex::default() }
    }

    /// Finds and hashes a source; `None` if it has to be downloaded first, or is an artifact.
    /// Writes nothing.
    pub fn find(&self, input: &Input) -> Result<Option<FoundSource>, SourceError> {
        let Some(path) = self.downloads.locate(input) else { return Ok(None) };
        let known = self.found().get(&path).copied();
        let hashed = match known {
            Some(hashed) => hashed,
            None => self.keep(&path, Index::hash)?,
        };
        if let Input::Url { url, blake3: Some(expected) } = input {
            let found = hashed.content.digest.to_string();
            // The hint for offline use tells people to put the file there themselves.
            if found != *expected {
                let (url, expected) = (url.clone(), expected.clone());
                let wrong = WrongDigest { path, url, expected, found };
                return Err(SourceError::WrongDigest(Box::new(wrong)));
            }
        }
        Ok(Some(FoundSource { path, hashed }))
    }

    /// The downloads, for a thread that may outlive this.
    pub fn downloads(&self) -> Downloads {
        self.downloads.clone()
    }

    /// Reads all bytes of a source and hashes them, even if it was found before.
    pub fn read_again(&self, path: &Path) -> Result<Hashed, SourceError> {
        self.keep(path, Index::read_again)
    }

    fn keep(
        &self,
        path: &Path,
        hash: impl Fn(&Index, &Path) -> Result<Hashed, FileError>,
    ) -> Result<Hashed, SourceError> {
        if !exists(path)? {
            return Err(SourceError::Missing { path: path.to_owned() });
        }
        let hashed = hash(&self.index, path)?;
        self.found().insert(path.to_owned(), hashed);
        Ok(hashed)
    }

    fn found(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Hashed>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

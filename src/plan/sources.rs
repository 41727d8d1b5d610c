//! Inputs that no stage makes: files and folders of the project, downloads, models of the hub.
//! Their digests are found once per process, through the index.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::files::file_error::FileError;
use crate::pipeline::Input;
use crate::sources::{Downloads, Located};
use crate::store::index::{Index, Source, exists};

/// The sources of a pipeline.
pub struct Sources {
    pub index: Index,
    downloads: Downloads,
    found: Mutex<BTreeMap<PathBuf, Source>>,
}

/// A source on this disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSource {
    pub path: PathBuf,
    pub source: Source,
}

/// Why a source is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
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

/// A file in the place of a download that is not what the pipeline pins.
#[derive(Debug)]
pub struct WrongDigest {
    pub path: PathBuf,
    pub url: String,
    pub expected: String,
    pub found: String,
}

impl SourcesError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            SourcesError::File(error) => error.hint().map(str::to_owned),
            SourcesError::Missing { .. } => None,
            SourcesError::WrongDigest(wrong) => {
                Some(format!("remove `{}` to download it again", wrong.path.display()))
            }
        }
    }
}

impl Sources {
    pub fn new(index: Index, store_root: &Path, offline: bool) -> Sources {
        let downloads = Downloads::new(&store_root.join("downloads"), offline);
        Sources { index, downloads, found: Mutex::default() }
    }

    /// Where a source lies and what it holds; `None` if it has to be downloaded first, or is an
    /// artifact. Nothing is written.
    pub fn find(&self, input: &Input) -> Result<Option<FoundSource>, SourcesError> {
        let Located::Ready(path) = self.downloads.locate(input) else { return Ok(None) };
        let known = self.found().get(&path).copied();
        let source = match known {
            Some(source) => source,
            None => self.look(&path)?,
        };
        if let Input::Url { url, blake3: Some(expected) } = input {
            let found = source.content.digest.to_string();
            // Somebody may have put the file there by hand, as the hint for offline use says.
            if found != *expected {
                let (url, expected) = (url.clone(), expected.clone());
                let wrong = WrongDigest { path, url, expected, found };
                return Err(SourcesError::WrongDigest(Box::new(wrong)));
            }
        }
        Ok(Some(FoundSource { path, source }))
    }

    /// To download from a thread that may outlive this.
    pub fn downloads(&self) -> Downloads {
        self.downloads.clone()
    }

    /// Looks again, whatever was found before.
    pub fn look(&self, path: &Path) -> Result<Source, SourcesError> {
        if !exists(path)? {
            return Err(SourcesError::Missing { path: path.to_owned() });
        }
        let source = self.index.source(path)?;
        self.found().insert(path.to_owned(), source);
        Ok(source)
    }

    fn found(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Source>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

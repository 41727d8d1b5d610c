//! Inputs from elsewhere: files behind a URL, pinned by their BLAKE3 digest, and models of the
//! Hugging Face hub. What was fetched once lies in the downloads folder and needs no network.
//!
//! ```text
//! downloads/<digest>               a file, verified before it got this name
//! downloads/commit-<digest of the URL>   a file whose URL names a Git commit
//! downloads/<owner>--<name>@<commit>/   links into the cache that Hugging Face tools share
//! ```

mod hub;
mod settings;
mod url;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use settings::HubSettings;

use crate::pipeline::Input;

/// Where downloads go, and how they are made.
#[derive(Clone, Debug)]
pub struct Downloads {
    pub folder: PathBuf,
    pub hub: HubSettings,
    /// Never ask the network for anything.
    pub offline: bool,
    /// How often a broken connection is taken up again without a byte of progress.
    pub retries: u32,
    /// The wait before the first retry; it doubles with each one.
    pub backoff: Duration,
}

/// Whether a source can be read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    Ready(PathBuf),
    /// [`Downloads::fetch`] has to get it first.
    Missing,
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name, for people.
    pub file: &'a str,
    pub done_bytes: u64,
    pub total_bytes: Option<u64>,
}

/// Why a source could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("`{what}` has not been downloaded, and the network is not to be used")]
    Offline { what: String, by_hand: ByHand },
    #[error("downloading `{what}`: {reason}")]
    Unreachable { what: String, reason: String, by_hand: ByHand },
    #[error("downloading `{what}`: the server answers {status}{}", status_in_words(*status))]
    Status { what: String, status: u16, by_hand: ByHand },
    #[error(
        "downloading `{url}`: its BLAKE3 digest is {found}, the pipeline says {expected}; \
         the file has changed, or something else answers at this address"
    )]
    WrongDigest { url: String, expected: String, found: String },
    #[error("`{what}` has no `{file}`, so it is no model that can be read here")]
    NotAModel { what: String, file: &'static str },
    #[error("`{what}`: {problem}")]
    Damaged { what: String, problem: String },
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("`{what}` is made by a stage, it cannot be downloaded")]
    Artifact { what: String },
}

/// How a person gets the same thing without this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByHand {
    File { url: String, name: String, downloads: PathBuf },
    Model { page: String, may_need_token: bool },
}

impl Downloads {
    /// Downloads into `folder`, with the hub as the environment describes it.
    pub fn new(folder: &Path, offline: bool) -> Downloads {
        Downloads {
            folder: folder.to_owned(),
            hub: HubSettings::from_environment(),
            offline,
            retries: 4,
            backoff: Duration::from_secs(1),
        }
    }

    /// Where a source lies. Asks no network and writes nothing, so that planning can use it.
    pub fn locate(&self, input: &Input) -> Located {
        let found = match input {
            Input::Path(path) => Some(path.clone()),
            Input::Url { url, blake3 } => url::locate(self, &url::name(url, blake3.as_deref())),
            Input::Hub { repository, revision } => hub::locate(self, repository, revision),
            Input::Artifact { .. } => None,
        };
        found.map_or(Located::Missing, Located::Ready)
    }

    /// Gets a source, from the network if need be, and says where it lies.
    ///
    /// # Errors
    ///
    /// See [`SourceError`]; [`SourceError::hint`] says what a person can do.
    pub fn fetch(
        &self,
        input: &Input,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf, SourceError> {
        if let Located::Ready(path) = self.locate(input) {
            return Ok(path);
        }
        match input {
            Input::Path(path) => Ok(path.clone()),
            Input::Url { url, blake3 } => url::fetch(self, url, blake3.as_deref(), progress),
            Input::Hub { repository, revision } => hub::fetch(self, repository, revision, progress),
            Input::Artifact { .. } => Err(SourceError::Artifact { what: input.to_string() }),
        }
    }
}

impl SourceError {
    /// What to do about it. `keys` are the overrides that would replace the source, for instance
    /// `model` or `finetune.inputs.model`.
    pub fn hint(&self, keys: &[&str]) -> Option<String> {
        let set = |value: &str| {
            let all: Vec<String> = keys.iter().map(|key| format!("--set {key}={value}")).collect();
            if all.is_empty() { String::new() } else { format!(", or pass {}", all.join(" ")) }
        };
        let by_hand = match self {
            SourceError::Offline { by_hand, .. }
            | SourceError::Unreachable { by_hand, .. }
            | SourceError::Status { by_hand, .. } => by_hand,
            SourceError::WrongDigest { found, .. } => {
                return Some(format!(
                    "if the new content is right, write `blake3: {found}` in the pipeline{}",
                    set("FILE")
                ));
            }
            _ => return None,
        };
        Some(match by_hand {
            ByHand::File { url, name, downloads } => format!(
                "with a network: download {url} by hand and copy it to {}{}",
                downloads.join(name).display(),
                set("FILE")
            ),
            ByHand::Model { page, may_need_token } => format!(
                "{}with a network: download config.json, model.safetensors (or pytorch_model.bin) \
                 and the tokenizer's files from {page} into a folder{}",
                if *may_need_token {
                    "if the model is private or gated, set HF_TOKEN; "
                } else {
                    ""
                },
                set("FOLDER")
            ),
        })
    }

    /// For `map_err`: names the operation (a participle: `reading`) and the path.
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SourceError {
        let path = path.to_owned();
        move |source| SourceError::Io { doing, path, source }
    }
}

fn status_in_words(status: u16) -> &'static str {
    match status {
        401 | 403 => " (not allowed, or there is no such thing)",
        404 => " (there is no such thing)",
        429 => " (too many requests; try again later)",
        500.. => " (the server is in trouble; try again later)",
        _ => "",
    }
}

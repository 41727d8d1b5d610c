//! Why a download failed, and how a person gets the same file without this program.

use std::path::PathBuf;

use crate::files::file_error::FileError;

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
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
    #[error("`{what}` has no `{file}`, so it is not a model that can be read here")]
    NotAModel { what: String, file: &'static str },
    #[error("`{what}`: {problem}")]
    Damaged { what: String, problem: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{what}` is made by a stage, it cannot be downloaded")]
    Artifact { what: String },
}

/// How a person gets the same thing without this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByHand {
    /// The file goes to `downloads/name`.
    File { url: String, name: String, downloads: PathBuf },
    /// The files of the model are on `page`.
    Model { page: String, may_need_token: bool },
    /// The file `path` is on `page`.
    Data { page: String, path: String, may_need_token: bool },
}

impl DownloadError {
    /// What the user can do about it. `keys` are the overrides that would replace the source, for
    /// instance `model` or `finetune.inputs.model`.
    pub fn hint(&self, keys: &[&str]) -> Option<String> {
        let set = |value: &str| {
            let all: Vec<String> = keys.iter().map(|key| format!("--set {key}={value}")).collect();
            if all.is_empty() { String::new() } else { format!(", or pass {}", all.join(" ")) }
        };
        match self {
            DownloadError::Offline { by_hand, .. }
            | DownloadError::Unreachable { by_hand, .. }
            | DownloadError::Status { by_hand, .. } => Some(match by_hand {
                ByHand::File { url, name, downloads } => format!(
                    "with a network: download {url} by hand and copy it to {}{}",
                    downloads.join(name).display(),
                    set("FILE")
                ),
                ByHand::Model { page, may_need_token } => format!(
                    "{}with a network: download config.json, model.safetensors (or \
                     pytorch_model.bin) and the tokenizer's files from {page} into a folder{}",
                    token_in_words("model", *may_need_token),
                    set("FOLDER")
                ),
                ByHand::Data { page, path, may_need_token } => format!(
                    "{}with a network: download {path} from {page}{}",
                    token_in_words("data set", *may_need_token),
                    set("FILE")
                ),
            }),
            DownloadError::WrongDigest { found, .. } => Some(format!(
                "if the new content is right, write `blake3: {found}` in the pipeline{}",
                set("FILE")
            )),
            DownloadError::File(error) => error.hint().map(str::to_owned),
            DownloadError::NotAModel { .. }
            | DownloadError::Damaged { .. }
            | DownloadError::Artifact { .. } => None,
        }
    }
}

fn token_in_words(what: &str, may_be_needed: bool) -> String {
    match may_be_needed {
        true => format!("if the {what} is private or gated, set HF_TOKEN; "),
        false => String::new(),
    }
}

fn status_in_words(status: u16) -> &'static str {
    match status {
        401 | 403 => " (not allowed, or it does not exist)",
        404 => " (it does not exist)",
        429 => " (too many requests; try again later)",
        500.. => " (the server is in trouble; try again later)",
        _ => "",
    }
}

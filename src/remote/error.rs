//! What goes wrong with a remote: [`Trouble`] is about one request, [`RemoteError`] ends a command.

use std::time::Duration;

use crate::files::file_error::FileError;
use crate::files::pace::TooSlow;
use crate::text::suggest::quoted;

/// Why one request failed.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("it sent nothing for {}", humantime::format_duration(*.0))]
    Silent(Duration),
    #[error("{0}")]
    Slow(TooSlow),
    #[error("access denied ({0})")]
    Denied(String),
    #[error("it is read-only")]
    ReadOnly,
    #[error("it has no space left ({0})")]
    Full(String),
    /// The connection failed, or the server answered with an error.
    #[error("{0}")]
    Failed(String),
    #[error("`{name}` is damaged there")]
    Damaged { name: String },
    #[error("`{name}` is not signed with the shared secret")]
    Unsigned { name: String },
    #[error("`{name}` does not exist")]
    Absent { name: String },
    /// The node on which a stage was to run refused it.
    #[error("the node says: {0}")]
    Refused(String),
    /// Downloading a result takes longer than a run may wait.
    #[error("it is slow: downloading a result takes longer than computing it")]
    TooSlow,
    /// An object of the local store is damaged.
    #[error("the object {0} of this store is damaged")]
    DamagedHere(String),
    /// The local disk failed.
    #[error(transparent)]
    Here(#[from] FileError),
}

impl Trouble {
    /// Whether the remote as a whole cannot be used, rather than a single object of it.
    pub fn is_of_remote(&self) -> bool {
        match self {
            Trouble::Silent(_) | Trouble::Slow(_) | Trouble::Denied(_) => true,
            Trouble::Failed(_) | Trouble::TooSlow => true,
            Trouble::ReadOnly | Trouble::Full(_) => true,
            Trouble::Damaged { .. } | Trouble::Unsigned { .. } => false,
            Trouble::Absent { .. } | Trouble::Refused(_) => false,
            Trouble::DamagedHere(_) | Trouble::Here(_) => false,
        }
    }
}

/// Why a command cannot push or pull.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error("there is no remote `{name}`")]
    Unknown { name: String, nearest: Option<String>, known: Vec<String> },
    #[error("no remote is named, and {}", none_or_several(known))]
    NotNamed { known: Vec<String> },
    #[error("remote `{name}` has no `url`")]
    NoUrl { name: String },
    #[error(
        "remote `{name}` is not a folder, and this `pipe` was built without support for servers"
    )]
    NotBuiltIn { name: String },
    #[error("remote `{name}`: {problem}")]
    Settings { name: String, problem: String },
    #[error("remote `{name}` is for {trust} only, as its `trust:` says")]
    NotTrusted { name: String, trust: &'static str },
    #[error("remote `{name}`: {trouble}")]
    Trouble { name: String, trouble: Trouble, without_credentials: bool },
    #[error("{what} by way of a remote, and this run has none")]
    Needed { what: &'static str },
    #[error(transparent)]
    Here(#[from] FileError),
}

fn none_or_several(known: &[String]) -> &'static str {
    if known.is_empty() { "none is declared" } else { "there are several" }
}

impl RemoteError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            RemoteError::Unknown { nearest: Some(nearest), .. } => {
                Some(format!("did you mean `{nearest}`?"))
            }
            RemoteError::Unknown { known, .. } | RemoteError::NotNamed { known } => {
                Some(match known.is_empty() {
                    true => "declare one under `remotes:` in `pipeline.yaml`, such as \
                             `remotes: {lab: /mnt/lab/results}`"
                        .to_owned(),
                    false => format!("name one with `--remote NAME`: {}", quoted(known)),
                })
            }
            RemoteError::NoUrl { .. } => {
                Some("`url:` is a folder, `s3://bucket/prefix` or `https://…`".to_owned())
            }
            RemoteError::NotBuiltIn { .. } => {
                Some("build it with `--features remotes`, which is on by default".to_owned())
            }
            RemoteError::Settings { .. } => None,
            RemoteError::Needed { .. } => Some(
                "name a remote with `trust: both` by `--remote NAME`; or put the store on a file \
                 system that all nodes share, and omit `transfer`"
                    .to_owned(),
            ),
            RemoteError::NotTrusted { .. } => Some("`trust: both` allows both ways".to_owned()),
            RemoteError::Trouble { without_credentials: true, .. } => Some(
                "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
                 `access_key_id` and `secret_access_key` of the remote in \
                 `~/.config/pipe/config.yaml`"
                    .to_owned(),
            ),
            RemoteError::Trouble { trouble, .. } => match trouble {
                Trouble::Silent(_) | Trouble::Slow(_) | Trouble::Failed(_) => Some(
                    "what was transferred is kept; run the same command again to resume".to_owned(),
                ),
                Trouble::DamagedHere(_) => {
                    Some("run `pipe cache verify --repair`, then `pipe run`".to_owned())
                }
                Trouble::Damaged { .. } => Some(
                    "to replace it, run `pipe push --overwrite` where the result is intact"
                        .to_owned(),
                ),
                Trouble::Here(error) => error.hint().map(str::to_owned),
                _ => None,
            },
            RemoteError::Here(error) => error.hint().map(str::to_owned),
        }
    }
}

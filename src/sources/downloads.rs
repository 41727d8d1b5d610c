//! The downloads folder. A file or a model that was fetched once lies here and needs no network
//! again.
//!
//! ```text
//! downloads/<digest>                     a file, verified before it got this name
//! downloads/<digest>.part                the beginning of a file
//! downloads/commit-<digest of the URL>   a file whose URL names a Git commit
//! downloads/<owner>--<name>@<commit>/    links into the cache that Hugging Face tools share
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sources::hub_settings::HubSettings;

/// Where downloads go, and how they are made.
#[derive(Clone, Debug)]
pub struct Downloads {
    pub folder: PathBuf,
    pub hub: HubSettings,
    /// Never use the network.
    pub offline: bool,
    /// How often to retry a connection that breaks without a byte of progress.
    pub retries: u32,
    /// The wait before the first retry. It doubles with each retry.
    pub backoff: Duration,
    /// A download that is slower than [`Pace`](crate::files::pace::Pace) allows for this long fails.
    pub patience: Duration,
}

impl Downloads {
    /// Downloads into `folder`. The environment variables of Hugging Face tools configure the hub;
    /// relative paths in them start in the project, `root`.
    pub fn new(folder: &Path, root: &Path, offline: bool) -> Downloads {
        Downloads {
            folder: folder.to_owned(),
            hub: HubSettings::from_environment(root),
            offline,
            retries: 4,
            backoff: Duration::from_secs(1),
            patience: Duration::from_secs(60),
        }
    }
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownloadProgress<'a> {
    /// The file's name, for people.
    pub file: &'a str,
    pub done_bytes: u64,
    pub total_bytes: Option<u64>,
}

//! The settings of remotes: those that the project declares under `remotes:`, and those of the
//! user's `~/.config/pipe/config.yaml`, which add to them or replace them key by key. Secrets are
//! in the user's file or in the environment, never in the project.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stages::stage::user_folders;

/// The environment variable with the secret that signs records, if no file has it.
pub const SECRET_VARIABLE: &str = "PIPE_REMOTE_SECRET";

/// The settings of one remote; an absent key is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    pub place: Option<RemotePlace>,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub trust: Option<Trust>,
    pub timeout: Option<Duration>,
    pub access_key_id: Option<Secret>,
    pub secret_access_key: Option<Secret>,
    pub session_token: Option<Secret>,
    /// The shared secret that signs records.
    pub secret: Option<Secret>,
}

/// The remotes that a file declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The remote that a run uses by default.
    pub default: Option<String>,
    pub remotes: BTreeMap<String, Declared>,
}

/// Where a remote is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemotePlace {
    Folder(PathBuf),
    S3 {
        bucket: String,
        /// Without leading and trailing slashes; may be empty.
        prefix: String,
    },
    Http {
        url: String,
    },
}

/// The directions in which results may travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// From the remote to here.
    Pull,
    /// From here to the remote.
    Push,
    Both,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("(secret)")
    }
}

impl fmt::Display for RemotePlace {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            RemotePlace::Folder(folder) => write!(out, "{}", folder.display()),
            RemotePlace::S3 { bucket, prefix } if prefix.is_empty() => write!(out, "s3://{bucket}"),
            RemotePlace::S3 { bucket, prefix } => write!(out, "s3://{bucket}/{prefix}"),
            RemotePlace::Http { url } => out.write_str(url),
        }
    }
}

impl RemotePlace {
    /// Parses a `url:`. A folder is a path, relative to `root`, or `file:…`.
    ///
    /// # Errors
    ///
    /// What is wrong, as the predicate of a sentence about the URL: "is empty".
    pub fn parse(url: &str, root: Option<&Path>) -> Result<RemotePlace, &'static str> {
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() || bucket.contains('@') {
                return Err("names no bucket: `s3://bucket/prefix`");
            }
            let prefix = prefix.trim_matches('/').to_owned();
            if prefix.split('/').any(|part| matches!(part, "." | "..")) {
                return Err("has a `.` or `..` in its prefix");
            }
            return Ok(RemotePlace::S3 { bucket: bucket.to_owned(), prefix });
        }
        if url.starts_with("http://") || url.starts_with("https://") {
            let rest = url.split_once("://").map_or("", |(_, rest)| rest);
            if rest.split('/').next().is_none_or(str::is_empty) {
                return Err("names no server");
            }
            return Ok(RemotePlace::Http { url: url.trim_end_matches('/').to_owned() });
        }
        let path = url.strip_prefix("file://").or(url.strip_prefix("file:")).unwrap_or(url);
        if path.is_empty() {
            return Err("is empty");
        }
        if url.contains("://") && path == url {
            return Err("is neither a folder nor `s3://…` nor `https://…`");
        }
        if let Some(below) = path.strip_prefix("~/") {
            let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
            let home = home.ok_or("begins with `~`, and HOME is not set")?;
            return Ok(RemotePlace::Folder(PathBuf::from(home).join(below)));
        }
        match (Path::new(path).is_absolute(), root) {
            (true, _) => Ok(RemotePlace::Folder(PathBuf::from(path))),
            (false, Some(root)) => Ok(RemotePlace::Folder(root.join(path))),
            (false, None) => Err("is a relative path, and this file belongs to no project"),
        }
    }

    /// Whether a URL contains a user name or a password.
    pub(super) fn has_password(url: &str) -> bool {
        let authority = url.split_once("://").map_or("", |(_, rest)| rest);
        authority
            .split(['/', '\\', '?', '#'])
            .next()
            .is_some_and(|authority| authority.contains('@'))
    }
}

impl Trust {
    pub const NAMES: [&str; 3] = ["pull", "push", "both"];

    pub fn parse(text: &str) -> Option<Trust> {
        match text {
            "pull" => Some(Trust::Pull),
            "push" => Some(Trust::Push),
            "both" => Some(Trust::Both),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Trust::Pull => "pull",
            Trust::Push => "push",
            Trust::Both => "both",
        }
    }

    pub fn pulls(self) -> bool {
        self != Trust::Push
    }

    pub fn pushes(self) -> bool {
        self != Trust::Pull
    }
}

/// The user's configuration file. `None` if there is no folder for it.
pub(super) fn config_file(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    Some(user_folders::configuration(variable)?.join("pipe").join("config.yaml"))
}

impl Config {
    /// These settings, with those of `above` replacing them key by key.
    pub fn with(mut self, above: Config) -> Config {
        for (name, above) in above.remotes {
            let below = self.remotes.remove(&name).unwrap_or_default();
            let both = Declared {
                place: above.place.or(below.place),
                endpoint: above.endpoint.or(below.endpoint),
                region: above.region.or(below.region),
                trust: above.trust.or(below.trust),
                timeout: above.timeout.or(below.timeout),
                access_key_id: above.access_key_id.or(below.access_key_id),
                secret_access_key: above.secret_access_key.or(below.secret_access_key),
                session_token: above.session_token.or(below.session_token),
                secret: above.secret.or(below.secret),
            };
            self.remotes.insert(name, both);
        }
        Config { default: above.default.or(self.default), ..self }
    }
}

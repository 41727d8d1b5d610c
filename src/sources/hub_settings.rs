//! The environment variables that Hugging Face tools share, read as `huggingface_hub` reads them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use stages::stage::user_folders;

/// The address of the hub, the cache for its files, and the user's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSettings {
    /// The address, without a slash at its end.
    pub endpoint: String,
    /// `None` if neither a variable nor the home directory determines it.
    pub cache: Option<PathBuf>,
    pub token: Option<String>,
    /// `HF_HUB_OFFLINE`.
    pub offline: bool,
}

impl HubSettings {
    /// The settings for the project in `root`.
    pub fn from_environment(root: &Path) -> HubSettings {
        HubSettings::from_variables(root, |name| std::env::var_os(name))
    }

    /// The settings from these variables. An empty variable counts as absent. A relative path
    /// starts in `root`, as it does for the commands of stages, which run there; a relative home
    /// or `XDG_CACHE_HOME` is ignored.
    pub fn from_variables(root: &Path, variable: impl Fn(&str) -> Option<OsString>) -> HubSettings {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).and_then(|value| value.into_string().ok());
        let path = |name: &str| variable(name).map(|path| root.join(path));
        let home =
            path("HF_HOME").or_else(|| Some(user_folders::caches(variable)?.join("huggingface")));
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(home.as_ref()?.join("hub")));
        let token_file = path("HF_TOKEN_PATH").or_else(|| Some(home.as_ref()?.join("token")));
        let token = text("HF_TOKEN")
            .or_else(|| std::fs::read_to_string(token_file?).ok())
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        let endpoint = text("HF_ENDPOINT").unwrap_or("https://huggingface.co".to_owned());
        let offline = text("HF_HUB_OFFLINE").is_some_and(|value| {
            matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE")
        });
        HubSettings { endpoint: endpoint.trim_end_matches('/').to_owned(), cache, token, offline }
    }
}

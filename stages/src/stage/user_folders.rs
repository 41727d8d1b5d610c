//! The folders of the user that all projects share, by the XDG Base Directory Specification. A
//! variable that is not an absolute path is ignored, as it demands.

use std::ffi::OsString;
use std::path::PathBuf;

/// Caches: `XDG_CACHE_HOME`, or `.cache` in the home directory, by these variables.
pub fn caches(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    folder(variable, "XDG_CACHE_HOME", ".cache")
}

/// Configuration: `XDG_CONFIG_HOME`, or `.config` in the home directory, by these variables.
pub fn configuration(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    folder(variable, "XDG_CONFIG_HOME", ".config")
}

fn folder(
    variable: impl Fn(&str) -> Option<OsString>,
    name: &str,
    in_home: &str,
) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|it| it.is_absolute());
    absolute(name).or_else(|| Some(absolute("HOME")?.join(in_home)))
}

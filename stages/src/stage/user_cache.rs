//! The folder for caches of the user, which all projects share.

use std::ffi::OsString;
use std::path::PathBuf;

/// `XDG_CACHE_HOME`, or `.cache` in the home directory, by these variables. One that is not an
/// absolute path is ignored, as the XDG Base Directory Specification demands.
pub fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|it| it.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}

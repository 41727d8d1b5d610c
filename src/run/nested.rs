//! A stage that calls `pipe run` on its own pipeline would wait for itself: for the lock of its key,
//! or for a resource that it holds. So each stage's process has a variable that tells which runs it
//! belongs to.

use std::ffi::OsString;
use std::fs;

use rustix::process::{Pid, getpid, test_kill_process};

use crate::files::digest::Digest;
use crate::files::unique::process_space;
use crate::store::Store;

/// The runs around a stage, the outermost one first: `PROCESS-SPACE-STORE`, separated by commas.
const VARIABLE: &str = "PIPE_INSIDE";

/// The variable for the process of a stage.
pub fn variable(store: &Store) -> (String, OsString) {
    let process = getpid().as_raw_nonzero();
    let this = format!("{process}-{}-{}", process_space(), name(store));
    let runs = around().into_iter().chain([this]);
    (VARIABLE.to_owned(), runs.collect::<Vec<_>>().join(",").into())
}

/// Whether this process belongs to a stage of a run that uses this store and has not ended.
pub fn is_inside(store: &Store) -> bool {
    let name = name(store);
    around().iter().any(|run| {
        let mut parts = run.splitn(3, '-');
        let process = parts.next().and_then(|process| Pid::from_raw(process.parse().ok()?));
        let space = parts.next();
        // Processes of another machine or container cannot be looked for.
        let lives =
            |process: Pid| space != Some(process_space()) || test_kill_process(process).is_ok();
        parts.next() == Some(&name) && process.is_some_and(lives)
    })
}

fn around() -> Vec<String> {
    let runs = std::env::var(VARIABLE).unwrap_or_default();
    runs.split(',').filter(|run| !run.is_empty()).map(str::to_owned).collect()
}

/// A name for a store, whatever links lead to it.
fn name(store: &Store) -> String {
    let root = fs::canonicalize(store.root()).unwrap_or_else(|_| store.root().to_owned());
    Digest::of_bytes(root.as_os_str().as_encoded_bytes()).short()
}

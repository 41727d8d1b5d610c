//! `pipe watch`: runs, then reruns whenever the pipeline's file or a source changes.

pub mod snapshot;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::snapshot::Snapshot;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::{check_not_inside, locate, pipeline_file};
use crate::cli::run::{self, RunOptions};
use crate::console::Console;
use crate::pipeline::{Input, Overrides, Pipeline, PipelineError};

/// The polling interval. A rerun starts when two polls in a row see the same files, since editors
/// write in several steps.
const INTERVAL: Duration = Duration::from_millis(200);

pub fn execute(options: &RunOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    check_not_inside(&locate(globals)?.1)?;
    let file = pipeline_file(globals)?;
    // While the file is missing, no `pipeline.yaml` in a folder above takes its place.
    let globals = &Globals { file: Some(file.clone()), ..globals.clone() };
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(Error::Signals)?;
    }
    loop {
        // Before the run, so that a change during the run is not missed.
        let before = Snapshot::of(&file, || sources(&file, &options.overrides.overrides()));
        match run::execute(options, globals, console) {
            Ok(Exit::Interrupted) => return Ok(Exit::Interrupted),
            Ok(_) => {}
            Err(error) => {
                error.print(console, options.carry_out.json);
            }
        }
        console.note("watching for changes; Ctrl-C ends");
        let Some(changed) = wait_for_change(&before, &ended) else { return Ok(Exit::Interrupted) };
        console.note(&format!("{} changed", shown(&changed)));
    }
}

/// The local sources of a pipeline. If it is invalid, those that it names: one that is missing now
/// may be written later.
fn sources(file: &Path, overrides: &Overrides) -> BTreeSet<PathBuf> {
    match Pipeline::load(file, overrides) {
        Ok(pipeline) => {
            let inputs = pipeline.stages.iter().flat_map(|stage| stage.inputs.values());
            let paths = inputs.filter_map(|input| match input {
                Input::Path(path) => Some(path.clone()),
                _ => None,
            });
            paths.collect()
        }
        Err(PipelineError::Invalid { sources, .. }) => sources,
        Err(PipelineError::Read { .. }) => BTreeSet::new(),
    }
}

/// The path that changed, or `None` after a signal.
fn wait_for_change(before: &Snapshot, ended: &AtomicBool) -> Option<PathBuf> {
    let mut last = before.clone();
    while !ended.load(Ordering::Relaxed) {
        let now = last.again();
        if now == last
            && let Some(changed) = before.first_change(&now)
        {
            return Some(changed);
        }
        last = now;
        std::thread::sleep(INTERVAL);
    }
    None
}

fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}

//! `pipe watch`: runs, then reruns whenever the pipeline's file or a source changes.

mod snapshot;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::snapshot::Snapshot;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::pipeline_file;
use crate::cli::run::{self, RunOptions};
use crate::console::Console;
use crate::pipeline::Pipeline;

/// The polling interval. A rerun starts when two polls in a row see the same files, since editors
/// write in several steps.
const INTERVAL: Duration = Duration::from_millis(200);

pub fn execute(options: &RunOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let file = pipeline_file(globals)?;
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(Error::Signals)?;
    }
    loop {
        let pipeline = Pipeline::load(&file, &options.overrides.overrides()).ok();
        // Before the run, so that a change during the run is not missed.
        let before = Snapshot::of(&file, pipeline.as_ref());
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

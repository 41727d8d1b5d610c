//! `pipe stage MANIFEST`, hidden: the process that runs one built-in stage.

use std::path::Path;

use stages::{Event, Events};

use crate::cli::exit::Exit;

/// Runs the stage; its events and its error go to standard output as JSON lines.
pub fn execute(manifest: &Path) -> Exit {
    let events = Events::new(std::io::stdout());
    match stages::run_manifest(manifest, &events) {
        Ok(()) => Exit::Done,
        Err(error) => {
            events.emit(&Event::Failed { message: error.to_string(), hint: error.hint() });
            Exit::Failed
        }
    }
}

//! `pipe stage MANIFEST`, hidden: the process of one built-in stage.

use std::path::Path;

use stages::{Event, Events};

use crate::cli::exit::Exit;

/// Runs the stage; whatever it has to say goes to standard output as events.
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

//! A built-in stage that ran out of memory runs again with less, if it can: the engine counts in
//! the stage's state how often that has happened, and the stage cuts its work into smaller pieces.

use std::fs;
use std::path::Path;

use stages::Params;
use stages::stage::manifest::OUT_OF_MEMORY;

use crate::executor::status::{ExitStatus, JobEnd};
use crate::files::disk;
use crate::pipeline::Stage;
use crate::run::failure::StageFailure;

/// From 4 GiB for activations down to the smallest amount that is tried.
const MOST: usize = 6;

/// Whether the stage may run again with less memory. If so, this is noted in its state.
pub fn may_shrink(stage: &Stage, failure: &StageFailure, state: &Path) -> bool {
    let Some(builtin) = stage.action.builtin().and_then(stages::find) else { return false };
    if !builtin.shrinks(&Params(stage.params.clone())) || !is_out_of_memory(failure) {
        return false;
    }
    let file = state.join(OUT_OF_MEMORY);
    let mut notes = fs::read_to_string(&file).unwrap_or_default();
    if notes.lines().count() >= MOST {
        return false;
    }
    notes.push_str("out of memory\n");
    // Without the note, the next attempt would do the same again.
    disk::create_file(&file)
        .and_then(|open| disk::write_all(&open, notes.as_bytes(), &file))
        .is_ok()
}

fn is_out_of_memory(failure: &StageFailure) -> bool {
    match failure {
        StageFailure::Process { status: ExitStatus::OutOfMemory, .. } => true,
        StageFailure::Process { status: ExitStatus::Scheduler(JobEnd::OutOfMemory), .. } => true,
        // What Rust prints when an allocation fails, before it aborts.
        StageFailure::Process { status: ExitStatus::Signal(libc::SIGABRT), .. } => {
            failure.last_lines().iter().any(|line| line.contains("memory allocation of"))
        }
        _ => false,
    }
}

//! Reruns a stage in a scratch folder, for `pipe verify`: on the same inputs, with its log and its
//! checkpoints in the scratch folder. Nothing of it enters the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use stages::Event;

use crate::executor::status::News;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::pipeline::Stage;
use crate::plan::inputs::KeyedStage;
use crate::run::checks::{check_outputs, check_sources, check_status};
use crate::run::collected::CollectedEvents;
use crate::run::context::RunContext;
use crate::run::failure::StageFailure;
use crate::run::inputs::verify_inputs;
use crate::run::prepare::prepare_with;

/// What a rerun stage wrote.
pub struct RunAgain {
    /// The path of each output, by the output's name.
    pub outputs: BTreeMap<String, PathBuf>,
    pub seconds: f64,
    /// As the stage reports it: `cpu (2 threads)`.
    pub device: Option<String>,
}

/// Runs a stage in the scratch folder. Its outputs stay until the scratch folder is removed.
pub fn run_again(
    stage: &Stage,
    resolved: &KeyedStage,
    context: &RunContext,
    on_event: &mut (dyn FnMut(&Event) + Send),
) -> Result<RunAgain, StageFailure> {
    let untouched = verify_inputs(resolved, context)?;
    // A failed run quotes its log, so the log must not lie in the folder that the failure removes.
    let (folder, log) = (context.scratch.path()?, context.scratch.path()?);
    let state = folder.join("state");
    let prepared = prepare_with(stage, resolved, &folder, log.clone(), state.clone(), context)?;
    let mut events = CollectedEvents::default();
    let began = Instant::now();
    let process = context.executor.start(&prepared.task)?;
    let ended = process.wait(&mut |news| {
        if let News::Says(event) = news {
            events.take(&event);
            on_event(&event);
        }
    })?;
    let seconds = began.elapsed().as_secs_f64();
    check_status(&ended.status, events.failed.take(), &log)?;
    check_sources(resolved, stage, context.sources, &untouched)?;
    untouched.check(context)?;
    prepared.open_outputs()?;
    check_outputs(stage, &prepared.outputs, &log)?;
    // Checkpoints may be as large as the outputs. A command has none.
    match disk::remove_folders(&state) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(FileError::at("removing", &state)(error).into());
        }
        _ => {}
    }
    Ok(RunAgain { outputs: prepared.outputs, seconds, device: events.device })
}

//! One stage, from known inputs to its record: verify the inputs, prepare a folder, run the
//! process, collect the outputs, write the record. Runs on a thread of its own, which holds the
//! lock of the stage's key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use stages::Event;

use crate::executor::Stopper;
use crate::executor::deadline::within;
use crate::executor::slurm;
use crate::executor::status::{Ended, ExitStatus, News};
use crate::executor::task::Task;
use crate::files::disk;
use crate::files::fault;
use crate::files::file_error::FileError;
use crate::pipeline::{ExecutorName, Stage};
use crate::plan::inputs::KeyedStage;
use crate::plan::listing;
use crate::run::checks::{by_origin, check_outputs, check_sources, check_status};
use crate::run::collected::CollectedEvents;
use crate::run::context::RunContext;
use crate::run::continuation::{self, Shorter};
use crate::run::event::Retry;
use crate::run::failure::StageFailure;
use crate::run::inputs::{Untouched, verify_inputs};
use crate::run::prepare::{Prepared, prepare, prepared_before};
use crate::run::shrink::may_shrink;
use crate::store::record::{Record, machine, now_rfc3339};

/// A stage that ran at least this many seconds is flushed to the disk before it is recorded. A
/// shorter one is cheaper to rerun after a power cut than to flush every time. If a power cut loses
/// data, the sizes of the objects show it.
const DURABLE_SECONDS: f64 = 0.5;

/// A stage whose inputs are known and which has to run.
pub struct Job<'a> {
    pub stage: &'a Stage,
    pub resolved: &'a KeyedStage,
    /// Start from the beginning, even if a shorter run or an earlier job has done a part of it.
    pub fresh: bool,
    /// Added to the environment of its process.
    pub environment: &'a [(String, OsString)],
}

/// Runs a stage, and retries it after a failed attempt if its `retries` allow. `on_start` receives
/// the handle that stops the process.
pub fn run_stage(
    job: &Job,
    context: &RunContext,
    on_start: &mut dyn FnMut(Box<dyn Stopper>),
    on_event: &mut (dyn FnMut(&Event) + Send),
    on_retry: &mut dyn FnMut(Retry),
) -> Result<Record, StageFailure> {
    let Job { stage, resolved, .. } = *job;
    let untouched = verify_inputs(resolved, context)?;
    let attempts = stage.handling.retries.saturating_add(1);
    let store = context.store;
    let state = store.state_folder(resolved.key);
    let mut attempt = 1;
    let executor = stage.handling.executor.unwrap_or(ExecutorName::Local);
    let own_folder = context.executor.folder(executor, resolved.key);
    if own_folder.is_none() {
        // A Slurm job that a dead engine left behind must not run beside this process.
        slurm::give_up(store, resolved.key);
    }
    loop {
        let folder = own_folder.clone().map_or_else(|| context.scratch.path(), Ok)?;
        let result = run_attempt(&folder, job, &untouched, context, on_start, on_event);
        let Err(failure) = result else {
            // The job folder outlives engines: unless it is removed here, no run would remove it.
            let _ = own_folder.map(|folder| disk::remove_folders(&folder));
            return result;
        };
        // A failed attempt may have written large files. The folder of a successful one holds only
        // links; it goes with the scratch folder when the run ends, because ext4 creates files
        // slowly for a minute after others have been deleted.
        let _ = disk::remove_folders(&folder);
        let interrupted = context.interrupted.load(Ordering::Relaxed);
        if !interrupted && may_shrink(stage, &failure, &state) {
            let message = "out of memory; retrying with smaller pieces".to_owned();
            on_event(&Event::Warning { message });
            continue;
        }
        let give_up = attempt >= attempts || interrupted;
        if give_up || !failure.may_pass() {
            return Err(failure);
        }
        let last_lines = failure.last_lines();
        let log = failure.log().and_then(|log| set_aside(log, attempt));
        attempt += 1;
        on_retry(Retry { attempt, attempts, message: failure.to_string(), last_lines, log });
    }
}

/// Whether a scheduler is running the stage, or has run it, in a job folder that outlives engines.
/// If not, the folder does not exist when this returns.
fn takes_up(folder: &Path, job: &Job, context: &RunContext) -> Result<bool, StageFailure> {
    let executor = job.stage.handling.executor.unwrap_or(ExecutorName::Local);
    let key = job.resolved.key;
    if context.executor.folder(executor, key).is_none() {
        return Ok(false);
    }
    if !job.fresh && context.executor.takes_up(executor, key)? {
        return Ok(true);
    }
    slurm::give_up(context.store, key);
    let prepared = folder.parent().map_or(Ok(()), disk::create_folders);
    match prepared.and_then(|()| disk::remove_folders(folder)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError::at("making room at", folder)(error).into())
        }
        _ => Ok(false),
    }
}

/// Renames the log of a failed attempt, so that the next attempt does not overwrite it:
/// `ab12.1.log`.
fn set_aside(log: &Path, attempt: u32) -> Option<PathBuf> {
    let aside = log.with_extension(format!("{attempt}.log"));
    // If this fails, only the last lines of the attempt are left.
    disk::rename(log, &aside).ok().map(|()| aside)
}

fn run_attempt(
    folder: &Path,
    job: &Job,
    untouched: &Untouched,
    context: &RunContext,
    on_start: &mut dyn FnMut(Box<dyn Stopper>),
    on_event: &mut (dyn FnMut(&Event) + Send),
) -> Result<Record, StageFailure> {
    let prepared = prepare_or_take_up(folder, job, context, on_event)?;
    let ran = run_process(&prepared.task, context, on_start, on_event)?;
    check(&ran, folder, &prepared.task, job, on_event)?;
    check_sources(job.resolved, job.stage, context.sources, untouched)?;
    untouched.check(context)?;
    collect_and_record(job, ran, &prepared, context)
}

/// Prepares the folder of a stage, unless a scheduler is already working in it. A new start may
/// continue from a shorter run.
fn prepare_or_take_up(
    folder: &Path,
    job: &Job,
    context: &RunContext,
    on_event: &mut (dyn FnMut(&Event) + Send),
) -> Result<Prepared, StageFailure> {
    let Job { stage, resolved, fresh, environment } = *job;
    let taken_up = takes_up(folder, job, context)?;
    let state = context.store.state_folder(resolved.key);
    if !fresh
        && !taken_up
        && let Some(shorter) = continuation::offer(&resolved.fields, &state, context.store)?
    {
        let Shorter { parameter, value } = shorter;
        let message = format!("continues from the end of the run with `{parameter}: {value}`");
        on_event(&Event::Note { message });
    }
    let mut prepared = match taken_up {
        true => prepared_before(stage, resolved, folder, context),
        false => prepare(stage, resolved, folder, context)?,
    };
    prepared.task.environment.extend_from_slice(environment);
    Ok(prepared)
}

/// How the process of one attempt ended.
struct Ran {
    status: ExitStatus,
    timed_out: bool,
    seconds: f64,
    machine: String,
    events: CollectedEvents,
}

/// Starts the process and waits for its end, or ends it after the stage's `timeout`.
fn run_process(
    task: &Task,
    context: &RunContext,
    on_start: &mut dyn FnMut(Box<dyn Stopper>),
    on_event: &mut (dyn FnMut(&Event) + Send),
) -> Result<Ran, StageFailure> {
    let mut events = CollectedEvents::default();
    let began = Instant::now();
    let process = context.executor.start(task)?;
    let stopper = process.stopper();
    on_start(process.stopper());
    let limit = task.work.limit.filter(|_| !context.executor.keeps_time(task.work.executor));
    let (ended, timed_out) = {
        let wait = || {
            process.wait(&mut |news| match news {
                News::Says(event) => {
                    events.take(&event);
                    on_event(&event);
                }
                News::BeganAnew => events = CollectedEvents::default(),
            })
        };
        within(limit, stopper, wait)?
    };
    let Ended { status, elsewhere } = ended?;
    let timed_out = timed_out || status == ExitStatus::TimedOut;
    let (seconds, machine) = match elsewhere {
        Some(elsewhere) => (elsewhere.seconds, elsewhere.machine),
        None => (began.elapsed().as_secs_f64(), machine()),
    };
    Ok(Ran { status, timed_out, seconds, machine, events })
}

/// Whether the process ended well; if not, why.
fn check(
    ran: &Ran,
    folder: &Path,
    task: &Task,
    job: &Job,
    on_event: &mut (dyn FnMut(&Event) + Send),
) -> Result<(), StageFailure> {
    if !ran.status.is_success() && disk::is_full(folder) {
        // The stage may not even have been able to write this to its log.
        on_event(&Event::Warning {
            message: "no space is left on the store's disk; free some space and run again: \
                      recorded results are intact"
                .to_owned(),
        });
    }
    if let Some(limit) = task.work.limit.filter(|_| ran.timed_out) {
        return Err(StageFailure::Timeout { limit, log: task.log.clone() });
    }
    let said = ran.events.failed.clone();
    let said = said.map(|(said, hint)| (by_origin(said, job.stage, folder), hint));
    check_status(&ran.status, said, &task.log)
}

/// Moves the outputs into the store and writes the record.
fn collect_and_record(
    job: &Job,
    ran: Ran,
    prepared: &Prepared,
    context: &RunContext,
) -> Result<Record, StageFailure> {
    let Job { stage, resolved, .. } = *job;
    let (store, scratch) = (context.store, context.scratch);
    listing::keep(resolved.inputs.values(), store, context.sources, scratch)?;

    let durable = ran.seconds >= DURABLE_SECONDS || fault::is_armed();
    // All outputs are checked before the first one is moved.
    prepared.open_outputs()?;
    check_outputs(stage, &prepared.outputs, &prepared.task.log)?;
    let mut outputs = BTreeMap::new();
    for (name, path) in &prepared.outputs {
        outputs.insert(name.clone(), store.insert(path, scratch, durable)?);
    }
    let record = Record {
        key: resolved.key,
        stage: stage.name.clone(),
        fields: resolved.fields.clone(),
        outputs,
        metrics: ran.events.metrics,
        history: ran.events.history,
        seconds: ran.seconds,
        device: ran.events.device,
        machine: ran.machine,
        threads: context.threads,
        when: now_rfc3339(),
        pipe: env!("CARGO_PKG_VERSION").to_owned(),
    };
    // The mark goes before the record: a mark without a record is ignored, but a record without a
    // mark is never found for comparison.
    store.mark_stage(stage.family(), resolved.key)?;
    store.write_record(&record, scratch, durable)?;
    continuation::settle(&resolved.fields, &store.state_folder(resolved.key), store);
    Ok(record)
}

//! One stage from known inputs to its record: verify the inputs, prepare a folder, run the
//! process, collect the outputs, write the record. Runs on a thread of its own, under the lock
//! of its key.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use stages::{Event, Kind};

use crate::executor::deadline::within;
use crate::executor::slurm;
use crate::executor::status::{Ended, ExitStatus, News};
use crate::executor::{Executor, Stopper};
use crate::files::disk;
use crate::files::fault;
use crate::files::file_error::FileError;
use crate::files::scratch::Scratch;
use crate::pipeline::{ExecutorName, Stage};
use crate::plan::inputs::{InputLocation, KeyedStage};
use crate::plan::listing;
use crate::plan::reason::origin;
use crate::run::continuation::{self, Shorter};
use crate::run::event::Retry;
use crate::run::failure::StageFailure;
use crate::run::inputs::{Untouched, verify_inputs};
use crate::run::prepare::{Setting, prepare, prepared_before};
use crate::run::shrink::may_shrink;
use crate::sources::Sources;
use crate::store::record::{Artifact, MetricsRow, Record, machine, now_rfc3339};

/// What a job shares with the rest of the run.
pub struct JobContext<'a> {
    pub setting: Setting<'a>,
    pub scratch: &'a Scratch,
    pub sources: &'a Sources,
    pub executor: &'a dyn Executor,
    /// The user wants no further attempts.
    pub interrupted: AtomicBool,
}

/// A stage that ran at least this long is flushed to the disk before it is recorded. A shorter
/// one is cheaper to run again after a power cut than to flush each time; what a cut can lose
/// shows in the sizes of the objects.
const DURABLE_SECONDS: f64 = 0.5;

/// A stage with known inputs that is to run.
pub struct Job<'a> {
    pub stage: &'a Stage,
    pub resolved: &'a KeyedStage,
    /// From the beginning, even if a shorter run has done a part of it.
    pub fresh: bool,
    /// Added to that of its process.
    pub environment: &'a [(String, OsString)],
}

/// Runs a stage, again after a failed attempt if it says so. `on_start` gets the means to stop
/// its process.
pub fn run_stage(
    job: &Job,
    context: &JobContext,
    on_start: &mut dyn FnMut(Box<dyn Stopper>),
    on_event: &mut (dyn FnMut(&Event) + Send),
    on_retry: &mut dyn FnMut(Retry),
) -> Result<Record, StageFailure> {
    let Job { stage, resolved, .. } = *job;
    let untouched = verify_inputs(resolved, context)?;
    let attempts = stage.handling.retries.saturating_add(1);
    let store = context.setting.store;
    let state = store.state_folder(resolved.key);
    let mut attempt = 1;
    let executor = stage.handling.executor.unwrap_or(ExecutorName::Local);
    let own_folder = context.executor.folder(executor, resolved.key);
    if own_folder.is_none() {
        // What an engine that is gone has left to a scheduler must not go on beside this.
        slurm::give_up(store, resolved.key);
    }
    loop {
        let folder = own_folder.clone().map_or_else(|| context.scratch.path(), Ok)?;
        let result = run_in(&folder, job, &untouched, context, on_start, on_event);
        let Err(failure) = result else {
            // Nobody takes it up any more, and no run would remove it.
            let _ = own_folder.map(|folder| disk::remove_folders(&folder));
            return result;
        };
        // What it has half written may be large. A stage that went well leaves links only; they
        // go with the scratch folder when the run ends: ext4 makes new files slowly for a minute
        // after others have been deleted.
        let _ = disk::remove_folders(&folder);
        let interrupted = context.interrupted.load(Ordering::Relaxed);
        if !interrupted && may_shrink(stage, &failure, &state) {
            let message = "it ran out of memory: once more, in smaller pieces".to_owned();
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

/// Whether a scheduler is at work on it, or was, in a folder that outlives engines. If not, there is
/// no such folder when this returns.
fn takes_up(folder: &Path, job: &Job, context: &JobContext) -> Result<bool, StageFailure> {
    let executor = job.stage.handling.executor.unwrap_or(ExecutorName::Local);
    let key = job.resolved.key;
    if context.executor.folder(executor, key).is_none() {
        return Ok(false);
    }
    if !job.fresh && context.executor.takes_up(executor, key)? {
        return Ok(true);
    }
    slurm::give_up(context.setting.store, key);
    let prepared = folder.parent().map_or(Ok(()), disk::create_folders);
    match prepared.and_then(|()| disk::remove_folders(folder)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError::at("making room at", folder)(error).into())
        }
        _ => Ok(false),
    }
}

/// Keeps the log of a failed attempt from being overwritten by the next one's: `ab12.1.log`.
fn set_aside(log: &Path, attempt: u32) -> Option<PathBuf> {
    let aside = log.with_extension(format!("{attempt}.log"));
    // Without it the attempt's last lines are all there is.
    disk::rename(log, &aside).ok().map(|()| aside)
}

fn run_in(
    folder: &Path,
    job: &Job,
    untouched: &Untouched,
    context: &JobContext,
    on_start: &mut dyn FnMut(Box<dyn Stopper>),
    on_event: &mut (dyn FnMut(&Event) + Send),
) -> Result<Record, StageFailure> {
    let Job { stage, resolved, fresh, environment } = *job;
    let store = context.setting.store;
    let state = store.state_folder(resolved.key);
    let executor = stage.handling.executor.unwrap_or(ExecutorName::Local);
    let taken_up = takes_up(folder, job, context)?;
    if !fresh
        && !taken_up
        && let Some(shorter) = continuation::offer(&resolved.fields, &state, store)?
    {
        let Shorter { parameter, value } = shorter;
        let message = format!("goes on from where the run with `{parameter}: {value}` ended");
        on_event(&Event::Note { message });
    }
    let mut prepared = match taken_up {
        true => prepared_before(stage, resolved, folder, &context.setting),
        false => prepare(stage, resolved, folder, &context.setting)?,
    };
    prepared.task.environment.extend_from_slice(environment);
    let log = prepared.task.log.clone();
    let mut heard = Heard::default();
    let began = Instant::now();
    let process = context.executor.start(&prepared.task)?;
    let stopper = process.stopper();
    on_start(process.stopper());
    let limit = stage.handling.timeout;
    let kept_here = limit.filter(|_| !context.executor.keeps_time(executor));
    let (ended, timed_out) = {
        let wait = || {
            process.wait(&mut |news| match news {
                News::Says(event) => {
                    heard.take(&event);
                    on_event(&event);
                }
                News::BeganAnew => heard = Heard::default(),
            })
        };
        within(kept_here, stopper, wait)
    };
    let Ended { status, elsewhere } = ended?;
    let timed_out = timed_out || status == ExitStatus::TimedOut;
    let (seconds, machine) = match elsewhere {
        Some(elsewhere) => (elsewhere.seconds, elsewhere.machine),
        None => (began.elapsed().as_secs_f64(), machine()),
    };
    if !status.is_success() && disk::is_full(folder) {
        // The stage may not even have been able to write so into its log.
        on_event(&Event::Warning {
            message: "no space is left on the store's disk; free some and run again: what has \
                      been recorded is intact"
                .to_owned(),
        });
    }
    if let Some(limit) = limit.filter(|_| timed_out) {
        return Err(StageFailure::Timeout { limit, log });
    }
    let said = heard.failed.take().map(|(said, hint)| (by_origin(said, stage, folder), hint));
    check_status(status, said, &log)?;
    check_sources(resolved, stage, context.sources)?;
    untouched.check(context)?;
    listing::keep(resolved.inputs.values(), store, context.sources, context.scratch)?;

    let durable = seconds >= DURABLE_SECONDS || fault::is_armed();
    let outputs = collect(stage, &prepared.outputs, &log, context.scratch, store, durable)?;
    let record = Record {
        key: resolved.key,
        stage: stage.name.clone(),
        fields: resolved.fields.clone(),
        outputs,
        metrics: heard.metrics,
        history: heard.history,
        seconds,
        device: heard.device,
        machine,
        threads: context.setting.threads,
        when: now_rfc3339(),
        pipe: env!("CARGO_PKG_VERSION").to_owned(),
    };
    // Before the record: a mark without one is passed over, a record without one is never found
    // to compare with.
    store.mark_stage(stage.family(), resolved.key)?;
    store.write_record(&record, context.scratch, durable)?;
    continuation::settle(&resolved.fields, &state, store);
    Ok(record)
}

/// What a process has said, as far as it is kept.
#[derive(Default)]
pub(super) struct Heard {
    metrics: BTreeMap<String, f64>,
    history: Vec<MetricsRow>,
    pub(super) device: Option<String>,
    pub(super) failed: Option<(String, Option<String>)>,
}

impl Heard {
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Device { name } => self.device = Some(name.clone()),
            Event::Metrics { step: None, values } => self.metrics.extend(values.clone()),
            Event::Metrics { step: Some(step), values } => {
                self.history.push(MetricsRow { step: *step, values: values.clone() });
            }
            Event::Failed { message, hint } => {
                self.failed = Some((message.clone(), hint.clone()));
            }
            Event::Progress { .. } | Event::Note { .. } | Event::Warning { .. } => {}
        }
    }
}

/// A built-in knows its inputs by the links in its folder only; people know them otherwise.
fn by_origin(message: String, stage: &Stage, folder: &Path) -> String {
    stage.inputs.iter().fold(message, |message, (name, input)| {
        let link = folder.join("in").join(name);
        message.replace(&link.display().to_string(), &origin(input))
    })
}

pub(super) fn check_status(
    status: ExitStatus,
    said: Option<(String, Option<String>)>,
    log: &Path,
) -> Result<(), StageFailure> {
    let log = log.to_owned();
    match said {
        _ if status.is_success() => Ok(()),
        Some((message, hint)) => Err(StageFailure::Said { message, hint, log }),
        None => Err(StageFailure::Process { status, log }),
    }
}

/// A result from bytes other than those in its key must not be recorded.
pub(super) fn check_sources(
    resolved: &KeyedStage,
    stage: &Stage,
    sources: &Sources,
) -> Result<(), StageFailure> {
    for (input, place) in &resolved.inputs {
        let InputLocation::Source(found) = place else { continue };
        let now = sources.hash_again(&found.path);
        if now.map_or(true, |now| now != found.hashed) {
            let origin = stage.inputs.get(input).map(origin).unwrap_or_default();
            return Err(StageFailure::SourceChanged { input: input.clone(), origin });
        }
    }
    Ok(())
}

fn collect(
    stage: &Stage,
    paths: &BTreeMap<String, PathBuf>,
    log: &Path,
    scratch: &Scratch,
    store: &crate::store::Store,
    durable: bool,
) -> Result<BTreeMap<String, Artifact>, StageFailure> {
    // All are looked at before the first one moves.
    check_outputs(stage, paths, log)?;
    let mut artifacts = BTreeMap::new();
    for (name, path) in paths {
        artifacts.insert(name.clone(), store.insert(path, scratch, durable)?);
    }
    Ok(artifacts)
}

/// Whether all declared outputs are there, of the declared kind.
pub(super) fn check_outputs(
    stage: &Stage,
    paths: &BTreeMap<String, PathBuf>,
    log: &Path,
) -> Result<(), StageFailure> {
    for output in &stage.outputs {
        let Some(path) = paths.get(&output.name) else { continue };
        let found = match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Kind::Folder,
            Ok(_) => Kind::File,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (output, at) = (output.name.clone(), path.clone());
                return Err(StageFailure::NoOutput { output, at, log: log.to_owned() });
            }
            Err(error) => return Err(FileError::at("reading", path)(error).into()),
        };
        if let Some(expected) = output.kind.filter(|expected| *expected != found) {
            let output = output.name.clone();
            return Err(StageFailure::WrongKind { output, expected, found });
        }
    }
    Ok(())
}

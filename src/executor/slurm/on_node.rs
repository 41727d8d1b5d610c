//! `pipe job NAME PATH`, hidden: what a node does for a stage. It starts the stage's process as the
//! executor [`crate::executor::local`] does, records its events and how it ended, and forwards the
//! scheduler's signals to it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use stages::Event;

use crate::executor::deadline::within;
use crate::executor::local::Local;
use crate::executor::slurm::folder::{JobFile, JobFolder, JobResult, Line, Started};
use crate::executor::status::{Elsewhere, Ended, ExitStatus, JobEnd, News, Stop};
use crate::executor::task::{Task, Work};
use crate::executor::{Executor, ExecutorError, Stopper};
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::threads;
use crate::files::unique;
use crate::pipeline::{ExecutorName, Request};
use crate::store::Store;
use crate::store::in_use::InUse;
use crate::store::record::machine;

/// How often the node checks whether the folder still belongs to this start.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// After this long, an earlier start of the same job has noticed that the folder is no longer its
/// own.
const TWO_HEARTBEATS: Duration = Duration::from_millis(2500);
/// How long a process may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(20);
/// How long to wait until the scheduler carries out a requeue.
const REQUEUED: Duration = Duration::from_secs(120);

/// What a node was told to do.
#[derive(Clone, Debug)]
pub struct OnNode {
    /// The submission's name.
    pub name: String,
    /// A stage's folder, or a list of folders.
    pub path: PathBuf,
    /// Write events to standard output, where the engine reads them.
    pub to_stdout: bool,
}

/// Runs the stage. `true`: it succeeded, or was given up.
pub fn execute(what: &OnNode, binary: &Path) -> Result<bool, ExecutorError> {
    execute_with(what, binary, &|| ())
}

/// As [`execute`]; calls `before_requeue` before it asks the scheduler for another turn.
pub(super) fn execute_with(
    what: &OnNode,
    binary: &Path,
    before_requeue: &dyn Fn(),
) -> Result<bool, ExecutorError> {
    let reasons = channel();
    // Before anything that takes time: a job with little time left is signalled at once.
    forward_signals(reasons.0.clone())
        .map_err(FileError::at("listening for signals in", &what.path))?;
    let folder = JobFolder(folder_of(&what.path)?);
    let Some(job) = job(&folder)? else { return Ok(true) };
    // If locks do not work here, `cache gc` still keeps whatever is younger than its age.
    let _in_use = InUse::together(&Store::new(&job.store), &mut || ());
    // The job was given up, and may have been submitted again under another name.
    if folder.submission().is_none_or(|submission| submission.name != what.name) {
        return Ok(true);
    }
    if folder.started().is_some() {
        // This job has started before. Its earlier start may be alive, if its node only seemed
        // dead.
        std::thread::sleep(TWO_HEARTBEATS);
    }
    let started = Started { token: unique::random(), host: node_name(), job: job_id() };
    folder.write_started(&started)?;
    let setting = (what.to_stdout, binary, before_requeue);
    let ran = folder.clear().map_err(ExecutorError::from);
    let ran = ran.and_then(|()| run(&folder, &job, &started, setting, reasons));
    ran.or_else(|error| {
        // Nobody reads what this program prints.
        let status = ExitStatus::Scheduler(JobEnd::NodeCannot { said: error.to_string() });
        let elsewhere = Elsewhere { seconds: 0.0, machine: machine() };
        let result = JobResult { status, elsewhere, told: false };
        folder.write_result_of(&started, &result).map_err(|_| error)?;
        Ok(false)
    })
}

/// Why the process is to end.
enum EndReason {
    /// The scheduler sent a signal.
    Told,
    /// The job's time is nearly up.
    TimeIsUp,
    Stop(Stop),
    /// The folder belongs to another start.
    Abandon,
    Over,
}

/// Which reasons occurred, as far as the result depends on them.
#[derive(Default)]
struct EndReasons {
    told: AtomicBool,
    time_is_up: AtomicBool,
    abandoned: AtomicBool,
}

fn run(
    folder: &JobFolder,
    job: &JobFile,
    started: &Started,
    (to_stdout, binary, before_requeue): (bool, &Path, &dyn Fn()),
    reasons: (Sender<EndReason>, Receiver<EndReason>),
) -> Result<bool, ExecutorError> {
    let out = match to_stdout {
        true => None,
        false => {
            let file = folder.events_file();
            Some(disk::append(&file).map_err(FileError::at("opening", &file))?)
        }
    };
    let out = Mutex::new(out);
    let say = |line: &Line| {
        // Complete lines only: the engine reads while we write.
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        let mut out = out.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // If the events cannot be written, the result still says how the stage ended.
        let _ = match out.as_mut() {
            Some(file) => file.write_all(&text),
            None => io::stdout().write_all(&text).and_then(|()| io::stdout().flush()),
        };
    };
    say(&match to_stdout {
        true => Line::Says(Event::Note { message: format!("runs on {}", started.host) }),
        false => Line::Began { began: started.clone() },
    });
    let reasons_seen = EndReasons::default();
    watch_over(folder.clone(), started.token.clone(), reasons.0.clone())?;
    let executor = Local::new(binary);
    let began = Instant::now();
    let process = executor.start(&task(folder, job)?)?;
    let (stopper, second_stopper) = (process.stopper(), process.stopper());
    let limit = job.limit_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let (ended, timed_out) = std::thread::scope(|scope| {
        let (sender, receiver) = reasons;
        let reasons_seen = &reasons_seen;
        let obey = move || obey(&receiver, stopper, reasons_seen);
        let obeying = threads::spawn_scoped(scope, &folder.0, obey);
        if obeying.is_err() {
            second_stopper.stop(Stop::Now);
        }
        let waited = within(limit, second_stopper, || {
            process.wait(&mut |news| {
                if let News::Says(event) = news {
                    say(&Line::Says(event));
                }
            })
        });
        let _ = sender.send(EndReason::Over);
        obeying.and(waited)
    })?;
    let Ended { status, .. } = ended?;
    let status = if timed_out { ExitStatus::TimedOut } else { status };
    let seconds = began.elapsed().as_secs_f64();
    if reasons_seen.abandoned.load(Ordering::Relaxed) {
        return Ok(true);
    }
    let went_well = status.is_success();
    let time_is_up = reasons_seen.time_is_up.load(Ordering::Relaxed) && !went_well;
    if time_is_up && job.requeue {
        before_requeue();
    }
    if time_is_up && job.requeue && requeue(started) {
        // The scheduler now ends this job and starts it again.
        std::thread::sleep(REQUEUED);
    }
    let status = if time_is_up { ExitStatus::Scheduler(JobEnd::TimeLimit) } else { status };
    let told = reasons_seen.told.load(Ordering::Relaxed) && !went_well && !time_is_up;
    let elsewhere = Elsewhere { seconds, machine: machine() };
    folder.write_result_of(started, &JobResult { status, elsewhere, told })?;
    Ok(went_well)
}

/// Ends the process for the given reasons, and returns when it is over.
fn obey(reasons: &Receiver<EndReason>, stopper: Box<dyn Stopper>, reasons_seen: &EndReasons) {
    let mut until: Option<Instant> = None;
    loop {
        let left = until.map_or(Duration::from_secs(3600), |until| {
            until.saturating_duration_since(Instant::now())
        });
        let how = match reasons.recv_timeout(left) {
            Ok(EndReason::Over) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(EndReason::Told) => {
                reasons_seen.told.store(true, Ordering::Relaxed);
                Stop::Politely
            }
            Ok(EndReason::TimeIsUp) => {
                reasons_seen.time_is_up.store(true, Ordering::Relaxed);
                Stop::Politely
            }
            Ok(EndReason::Stop(how)) => how,
            Ok(EndReason::Abandon) => {
                reasons_seen.abandoned.store(true, Ordering::Relaxed);
                Stop::Now
            }
            Err(RecvTimeoutError::Timeout) if until.is_none() => continue,
            Err(RecvTimeoutError::Timeout) => Stop::Now,
        };
        stopper.stop(how);
        until = match how {
            Stop::Politely => until.or(Some(Instant::now() + GRACE)),
            Stop::Now => None,
        };
    }
}

fn forward_signals(reasons: Sender<EndReason>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
    std::thread::Builder::new().spawn(move || {
        for signal in signals.forever() {
            let reason = if signal == SIGUSR1 { EndReason::TimeIsUp } else { EndReason::Told };
            if reasons.send(reason).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Until the process is over, checks whether the folder still belongs to this start and whether the
/// engine wants the process to end.
fn watch_over(
    folder: JobFolder,
    token: String,
    reasons: Sender<EndReason>,
) -> Result<(), FileError> {
    let purpose = folder.0.clone();
    threads::spawn(&purpose, move || {
        let (mut foreign, mut stopped) = (0, None);
        loop {
            std::thread::sleep(HEARTBEAT);
            // An unreadable file may be readable later: a file server that is away does not
            // change the owner.
            let ours = folder
                .try_started()
                .map_or(true, |now| now.is_some_and(|started| started.token == token));
            foreign = if ours { 0 } else { foreign + 1 };
            let told = folder.told_to_stop();
            let reason = match told {
                // One look is not enough: a file that is replaced by a rename may be invisible for
                // a moment.
                _ if foreign >= 2 => EndReason::Abandon,
                Some(how) if stopped != told => {
                    stopped = Some(how);
                    EndReason::Stop(how)
                }
                _ => continue,
            };
            if reasons.send(reason).is_err() || foreign >= 2 {
                return;
            }
        }
    })
    .map(drop)
}

/// The stage's folder: the path itself, or its line in an array's list.
fn folder_of(path: &Path) -> Result<PathBuf, FileError> {
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    let text = fs::read_to_string(path).map_err(FileError::at("reading", path))?;
    let index = std::env::var("SLURM_ARRAY_TASK_ID").ok().and_then(|text| text.parse().ok());
    let line = index.and_then(|index: usize| text.lines().nth(index));
    let line = line.ok_or_else(|| {
        FileError::found(
            "looking for this array's place in",
            path,
            "`SLURM_ARRAY_TASK_ID` is not a line of it",
        )
    })?;
    Ok(PathBuf::from(line))
}

/// The process to start, as soon as its file is visible. `None`: the stage was given up.
fn job(folder: &JobFolder) -> Result<Option<JobFile>, FileError> {
    let until = Instant::now() + super::request::LATE_FILES;
    loop {
        let file = folder.job_file();
        match folder.job() {
            Ok(Some(job)) => return Ok(Some(job)),
            Ok(None) if !folder.0.exists() => return Ok(None),
            Ok(None) if Instant::now() > until => {
                return Err(FileError::found("reading", &file, "it does not exist"));
            }
            Err(error) if Instant::now() > until => {
                return Err(FileError::at("reading", &file)(error));
            }
            // Listing a folder makes new files in it visible.
            _ => drop(fs::read_dir(&folder.0)),
        }
        std::thread::sleep(HEARTBEAT);
    }
}

fn task(folder: &JobFolder, job: &JobFile) -> Result<Task, FileError> {
    let mut environment: Vec<(String, std::ffi::OsString)> =
        job.environment.iter().map(|(name, value)| (name.clone(), value.into())).collect();
    let cores =
        ["SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"].into_iter().find_map(std::env::var_os);
    if let Some(cores) = cores.filter(|_| std::env::var_os(THREADS).is_none()) {
        // Not every cluster keeps a job off cores that are not its own.
        environment.push((THREADS.to_owned(), cores));
    }
    // A variable that was unset when the key was computed must be unset here too.
    let (program, arguments) = match job.unset.is_empty() {
        true => (job.program.clone(), job.arguments.clone()),
        false => {
            let unset = job.unset.iter().flat_map(|name| ["-u".to_owned(), name.clone()]);
            let rest = std::iter::once(job.program.clone()).chain(job.arguments.iter().cloned());
            ("/usr/bin/env".to_owned(), unset.chain(rest).collect())
        }
    };
    let damaged = || FileError::found("reading", &folder.job_file(), "its key is not a key");
    Ok(Task {
        work: Work {
            stage: job.stage.clone(),
            key: job.key.parse().map_err(|_| damaged())?,
            folder: folder.0.clone(),
            executor: ExecutorName::Local,
            request: Request::default(),
            limit: None,
            declared: Vec::new(),
        },
        program: program.into(),
        arguments: arguments.into_iter().map(Into::into).collect(),
        environment,
        working_folder: job.working_folder.clone(),
        log: job.log.clone(),
        output_is_events: job.output_is_events,
        ends_by_term: false,
    })
}

/// The variable that sets the size of the stages' thread pool.
const THREADS: &str = "RAYON_NUM_THREADS";

/// The job's ID as `scancel` and `scontrol` accept it.
fn job_id() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable("SLURM_ARRAY_JOB_ID"), variable("SLURM_ARRAY_TASK_ID")) {
        (Some(job), Some(index)) => Some(format!("{job}_{index}")),
        _ => variable("SLURM_JOB_ID"),
    }
}

/// Asks for a requeue, and returns whether the scheduler accepted.
fn requeue(started: &Started) -> bool {
    let Some(job) = &started.job else { return false };
    let mut command = Command::new("scontrol");
    command.args(["requeue", job]).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The node's name in the cluster.
fn node_name() -> String {
    std::env::var("SLURMD_NODENAME")
        .unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

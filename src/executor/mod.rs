//! How a stage's process is started, and nothing else. What the process finds (its folder, its
//! manifest, its environment) is prepared before, and what it leaves is collected afterwards, the
//! same way for every executor.
//!
//! | executor | starts | how [`Process::wait`] learns of the end |
//! |---|---|---|
//! | [`local`] | a child process | from the kernel |
//! | [`slurm::attached`] | `srun`, a step of the allocation that the engine is in | from `srun`, and from a result file |
//! | [`slurm::detached`] | `sbatch`, a batch job | from a result file; the scheduler only explains a missing one |
//!
//! [`choice`] sends each stage to its executor.
//!
//! # What another executor would need
//!
//! Three things, all of which `slurm` has: a folder that both sides see, a command that starts
//! `pipe job FOLDER` there, and a way to ask what became of it. The following is a sketch from the
//! reference of `batch/v1` and the comments in `remote_execution.proto`; neither executor has been
//! built or tried:
//!
//! - **Kubernetes.** A `batch/v1` Job whose pod mounts the store (a `ReadWriteMany` volume) at the
//!   same path and runs `pipe job FOLDER`. `metadata.name`, which is unique in a namespace, is the
//!   job's name, so the API server itself refuses a second submission. Set `backoffLimit: 0` and
//!   `restartPolicy: Never`, since the engine retries; the pod's `activeDeadlineSeconds` for `time`
//!   (it counts from the pod's start on a node, while the Job's own includes the waiting); and
//!   `resources.limits` for `cpus`, `memory` and `nvidia.com/gpu`. An array is a Job with
//!   `completionMode: Indexed`: the index is in `JOB_COMPLETION_INDEX`, and `parallelism` is the
//!   limit. A `list` with a label selector replaces `squeue`. A container's `terminated.reason`
//!   (`OOMKilled`) and the pod condition `DisruptionTarget` explain an end without a result.
//!   `terminationGracePeriodSeconds` is the time between SIGTERM and SIGKILL.
//! - **The Remote Execution API** (`build.bazel.remote.execution.v2`). Its `Action` is our key: a
//!   command, an input root, output paths, `salt`. Its `ActionResult` is our record. It expects
//!   inputs in its content-addressed storage, by SHA-256 or BLAKE3 (`DigestFunction.BLAKE3`), as a
//!   Merkle tree of `Directory` messages, while we have one listing per folder: an adapter would
//!   upload objects as they are and write these messages for the `in` folder. `Execute` streams
//!   operations, so nothing polls. `WaitExecution` resumes waiting for an operation after the engine
//!   has died; if the server no longer knows the operation, the action is sent again. A server may
//!   run one action several times in parallel, which only costs time, since results are addressed by
//!   content. Only `stdout_stream_name` carries progress, and nothing carries checkpoints: `state`
//!   would be an output of one action and an input of the next, or a long training would start over
//!   whenever its worker is lost.
//!
//! What training on several GPUs would need is described in [`slurm`].

pub mod choice;
pub mod deadline;
pub mod guard;
pub mod local;
mod memory;
pub mod slurm;
mod spawn;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stages::Event;

use crate::executor::slurm::SlurmError;
use crate::files::file_error::FileError;
use crate::pipeline::{ExecutorName, Request};
use crate::store::key::Key;

/// One process to start.
#[derive(Clone, Debug)]
pub struct Task {
    /// The stage it belongs to, and where it is to run.
    pub work: Work,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Added to the environment of the engine.
    pub environment: Vec<(String, OsString)>,
    pub working_folder: PathBuf,
    /// Receives standard error, and also standard output unless that carries events.
    pub log: PathBuf,
    pub output_is_events: bool,
    /// If the engine dies, end the process by SIGTERM instead of SIGKILL: a killed `srun` would
    /// leave its step behind.
    pub ends_by_term: bool,
}

/// What an executor knows of a stage besides its process.
#[derive(Clone, Debug)]
pub struct Work {
    pub stage: String,
    pub key: Key,
    /// The folder with everything that belongs to the process: its manifest, its inputs, its
    /// outputs.
    pub folder: PathBuf,
    pub executor: ExecutorName,
    pub request: Request,
    /// How long the stage may take. Only some executors enforce it ([`Executor::keeps_time`]).
    pub limit: Option<Duration>,
    /// The names of the environment variables that entered its key.
    pub declared: Vec<String>,
}

/// Starts processes, here or elsewhere.
pub trait Executor: Sync {
    fn start(&self, task: &Task) -> Result<Box<dyn Process>, ExecutorError>;

    /// The folder of a stage that this executor runs, if the folder must outlive the engine.
    /// `None`: a folder in the engine's own scratch folder will do.
    fn folder(&self, _executor: ExecutorName, _key: Key) -> Option<PathBuf> {
        None
    }

    /// Whether a process that a dead engine started is still working in that folder, or has left
    /// its result there. Then [`Executor::start`] resumes it, and the folder must stay as it is.
    fn takes_up(&self, _executor: ExecutorName, _key: Key) -> Result<bool, ExecutorError> {
        Ok(false)
    }

    /// Whether the executor itself ends a process that takes longer than [`Work::limit`]. The time
    /// that a job waits in a queue must not count.
    fn keeps_time(&self, _executor: ExecutorName) -> bool {
        false
    }
}

/// Why a process could not be started, or why nothing is known of its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Slurm(#[from] SlurmError),
}

/// A process that was started.
pub trait Process {
    /// Returns a handle to end the process from another thread while this one waits.
    fn stopper(&self) -> Box<dyn Stopper>;

    /// Passes on the news of the process as they come. Returns when the process and everything that
    /// it started have ended.
    fn wait(
        self: Box<Self>,
        on_news: &mut (dyn FnMut(News) + Send),
    ) -> Result<Ended, ExecutorError>;
}

/// What a running process reports.
#[derive(Clone, Debug)]
pub enum News {
    Says(Event),
    /// The process was started again elsewhere; what it reported before does not count.
    BeganAnew,
}

/// The end of a process.
#[derive(Clone, Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Where and how long it ran, if that was not here.
    pub elsewhere: Option<Elsewhere>,
}

/// The run of a process on another machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Elsewhere {
    pub seconds: f64,
    pub machine: String,
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Ended {
        Ended { status, elsewhere: None }
    }
}

/// Ends a process.
pub trait Stopper: Send {
    fn stop(&self, how: Stop);
}

/// How to end a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The process may still save its state.
    Politely,
    Now,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
    /// Killed by signal 9 while the kernel counted a kill for lack of memory.
    OutOfMemory,
    /// It ran longer than the stage's `timeout`.
    TimedOut,
    /// A scheduler ended it, for this reason.
    Scheduler(JobEnd),
}

/// Why a scheduler ended a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobEnd {
    /// The time limit of the job or of its partition.
    TimeLimit,
    OutOfMemory,
    NodeFailed {
        nodes: String,
    },
    Preempted,
    /// Somebody, or a script, ran `scancel`.
    Cancelled,
    /// A job that it waited for failed.
    Dependency,
    /// It was told to end, and the scheduler no longer knows why.
    Told,
    /// It ended without a result, and nobody knows why.
    Lost {
        said: String,
    },
}

impl JobEnd {
    /// Whether another attempt may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            JobEnd::NodeFailed { .. } | JobEnd::Preempted | JobEnd::Lost { .. } => true,
            JobEnd::TimeLimit | JobEnd::OutOfMemory | JobEnd::Told => true,
            JobEnd::Cancelled | JobEnd::Dependency => false,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            JobEnd::TimeLimit => {
                "raise it with `resources: {time: 4h}`, or let the job continue in further turns with \
                 `requeue: true`; training resumes from its checkpoint"
            }
            JobEnd::OutOfMemory => "raise the limit with `resources: {memory: 16G}`",
            JobEnd::NodeFailed { .. } | JobEnd::Preempted => {
                "run again, or let Slurm restart it with `resources: {requeue: true}`"
            }
            JobEnd::Cancelled => "run again if this was not intended",
            JobEnd::Dependency => "fix what failed before it, and submit again",
            JobEnd::Told => "the cause may be a time limit, preemption or `scancel`; run again",
            JobEnd::Lost { .. } => {
                "`scontrol show job`, or the node's log, may explain it; run again"
            }
        }
    }
}

impl fmt::Display for JobEnd {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            JobEnd::TimeLimit => out.write_str("Slurm ended it at its time limit"),
            JobEnd::OutOfMemory => out.write_str("Slurm ended it because it ran out of memory"),
            JobEnd::NodeFailed { nodes } if nodes.is_empty() => out.write_str("its node failed"),
            JobEnd::NodeFailed { nodes } => write!(out, "its node failed (`{nodes}`)"),
            JobEnd::Preempted => out.write_str("Slurm preempted it for another job"),
            JobEnd::Cancelled => out.write_str("its Slurm job was cancelled by hand"),
            JobEnd::Dependency => out.write_str("a job that its Slurm job depends on failed"),
            JobEnd::Told => out.write_str("Slurm told it to end and no longer knows why"),
            JobEnd::Lost { said } => write!(out, "its Slurm job left no result ({said})"),
        }
    }
}

impl ExitStatus {
    pub fn is_success(&self) -> bool {
        *self == ExitStatus::Code(0)
    }

    /// Whether it ended by a signal that schedulers send. A shell reports such a signal as its exit
    /// code.
    pub fn is_kill(&self) -> bool {
        const KILLS: [i32; 2] = [libc::SIGTERM, libc::SIGKILL];
        match self {
            ExitStatus::Signal(signal) => KILLS.contains(signal),
            ExitStatus::Code(code) => KILLS.contains(&(code - 128)),
            _ => false,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ExitStatus::Scheduler(end) => write!(f, "{end}"),
            ExitStatus::TimedOut => f.write_str("timed out"),
            ExitStatus::Code(127) => f.write_str("exit code 127 (command not found?)"),
            // How a shell reports that its last command was killed by a signal.
            ExitStatus::Code(code @ 129..=159) => {
                write!(f, "exit code {code} (a process in it was killed by signal {}?)", code - 128)
            }
            ExitStatus::Code(code) => write!(f, "exit code {code}"),
            ExitStatus::OutOfMemory => f.write_str("killed, probably out of memory"),
            ExitStatus::Signal(signal) => {
                let meaning = match *signal {
                    libc::SIGKILL => "by a user, or out of memory",
                    libc::SIGSEGV => "segmentation fault",
                    libc::SIGBUS => "bus error: a mapped file shrank, or the disk failed",
                    libc::SIGABRT => "aborted",
                    libc::SIGILL => "illegal instruction",
                    libc::SIGFPE => "arithmetic error",
                    libc::SIGPIPE => "broken pipe",
                    libc::SIGTERM => "terminated",
                    libc::SIGINT => "interrupted",
                    libc::SIGXCPU => "processor time limit",
                    libc::SIGXFSZ => "file size limit",
                    _ => return write!(f, "killed by signal {signal}"),
                };
                write!(f, "killed by signal {signal} ({meaning})")
            }
        }
    }
}

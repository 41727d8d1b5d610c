//! How a stage's process is started, and nothing else. What the process finds (its folder, its
//! manifest, its environment) is prepared before, what it leaves is collected after, the same
//! way for every executor.
//!
//! | executor | starts | [`Process::wait`] knows the end by |
//! |---|---|---|
//! | [`local`] | a child process | the kernel |
//! | [`slurm::attached`] | `srun`, a step of the allocation that the engine is in | `srun`, and a result file |
//! | [`slurm::detached`] | `sbatch`, a batch job | a result file, which the scheduler's word only explains |
//!
//! [`choice`] sends each stage to the one that it names.
//!
//! # What another executor would need
//!
//! Three things, all of which `slurm` has: a folder that both sides see, a command that starts
//! `pipe job FOLDER` there, and a way to ask what became of it. On paper, from the reference of `batch/v1`
//! and the comments in `remote_execution.proto`; neither has been built or tried:
//!
//! - **Kubernetes.** A `batch/v1` Job whose pod mounts the store (a `ReadWriteMany` volume) at the
//!   same path and runs `pipe job FOLDER`. `metadata.name`, which a namespace has once, takes the
//!   job's name, so that the API server itself refuses to take a submission twice. `backoffLimit: 0` and
//!   `restartPolicy: Never`, since retries are the engine's; the pod's `activeDeadlineSeconds` for `time`
//!   (it counts from the pod's start on a node, the Job's own includes the waiting);
//!   `resources.limits` for `cpus`, `memory` and `nvidia.com/gpu`. An array is a Job with
//!   `completionMode: Indexed`: the index is in `JOB_COMPLETION_INDEX`, `parallelism` is the limit.
//!   One `list` with a label selector stands for `squeue`; a container's `terminated.reason`
//!   (`OOMKilled`) and the pod condition `DisruptionTarget` explain an end without a result.
//!   `terminationGracePeriodSeconds` is the time between SIGTERM and SIGKILL.
//! - **The Remote Execution API** (`build.bazel.remote.execution.v2`). Its `Action` is our key: a
//!   command, an input root, output paths, `salt`; its `ActionResult` our record. It wants inputs
//!   in its content-addressed storage by SHA-256 or BLAKE3 (`DigestFunction.BLAKE3`) as a Merkle tree of
//!   `Directory` messages, where we have one listing for each folder: an adapter would upload objects
//!   as they are and write such messages for the `in` folder. `Execute` streams operations, so
//!   nothing polls; `WaitExecution` takes an operation up again after the engine's death, and where the
//!   server no longer knows it the action is sent anew. A server may run one action several times side
//!   by side, which costs time and nothing else, since results go by content. Nothing in
//!   it carries progress but `stdout_stream_name`, nor checkpoints: `state` would be an output of
//!   one action and an input of the next, or a long training starts over whenever its worker goes.
//!
//! What several GPUs for one training would need is said in [`slurm`].

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
    /// Which stage it is, and where it is to run.
    pub work: Work,
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Added to the environment of the engine.
    pub environment: Vec<(String, OsString)>,
    pub working_folder: PathBuf,
    /// Receives standard error, and standard output unless that carries events.
    pub log: PathBuf,
    pub output_is_events: bool,
    /// Where the engine dies, SIGTERM ends it and not SIGKILL: `srun` would leave its step behind.
    pub ends_by_term: bool,
}

/// What an executor knows of a stage besides its process.
#[derive(Clone, Debug)]
pub struct Work {
    pub stage: String,
    pub key: Key,
    /// Where everything of the process lies: its manifest, its inputs, its outputs.
    pub folder: PathBuf,
    pub executor: ExecutorName,
    pub request: Request,
    /// How long it may take; kept here only by executors that say so ([`Executor::keeps_time`]).
    pub limit: Option<Duration>,
    /// The names of the environment variables that entered its key.
    pub declared: Vec<String>,
}

/// Starts processes here, or elsewhere.
pub trait Executor: Sync {
    fn start(&self, task: &Task) -> Result<Box<dyn Process>, ExecutorError>;

    /// Where a stage that it runs has its folder, if not in the engine's own scratch folder: one
    /// that outlives the engine.
    fn folder(&self, _executor: ExecutorName, _key: Key) -> Option<PathBuf> {
        None
    }

    /// Whether a process of an engine that is gone is at work in such a folder, or has left its
    /// result there: then [`Executor::start`] takes it up, and the folder is to stay as it is.
    fn takes_up(&self, _executor: ExecutorName, _key: Key) -> Result<bool, ExecutorError> {
        Ok(false)
    }

    /// Whether it ends a process itself that takes longer than [`Work::limit`]. One that waits in
    /// a queue must not lose its time there.
    fn keeps_time(&self, _executor: ExecutorName) -> bool {
        false
    }
}

/// Why a process could not be started, or nothing is known of its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Slurm(#[from] SlurmError),
}

/// A process that was started.
pub trait Process {
    /// To end it from another thread while this one waits.
    fn stopper(&self) -> Box<dyn Stopper>;

    /// Hands over what is heard of it as it comes, and returns when it and all that it started
    /// have ended.
    fn wait(
        self: Box<Self>,
        on_news: &mut (dyn FnMut(News) + Send),
    ) -> Result<Ended, ExecutorError>;
}

/// What is heard of a process that is under way.
#[derive(Clone, Debug)]
pub enum News {
    Says(Event),
    /// It was begun anew elsewhere; what it said before does not count.
    BeganAnew,
}

/// The end of a process.
#[derive(Clone, Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Where and how long it ran, if that was not here.
    pub elsewhere: Option<Elsewhere>,
}

/// Of a process on another machine.
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
    /// It may still tidy up.
    Politely,
    Now,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
    /// By signal 9, and the kernel has counted a kill for lack of memory meanwhile.
    OutOfMemory,
    /// It took longer than the stage may.
    TimedOut,
    /// A scheduler ended it, and says why.
    Scheduler(JobEnd),
}

/// Why a scheduler ended a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobEnd {
    /// Of the job or of its partition.
    TimeLimit,
    OutOfMemory,
    NodeFailed {
        nodes: String,
    },
    Preempted,
    /// By a person or a script, with `scancel`.
    Cancelled,
    /// What it waited for failed.
    Dependency,
    /// It was told to end, and the scheduler has forgotten why.
    Told,
    /// It ended without a result, and nobody says why.
    Lost {
        said: String,
    },
}

impl JobEnd {
    /// Whether another attempt may go better.
    pub fn may_pass(&self) -> bool {
        match self {
            JobEnd::NodeFailed { .. } | JobEnd::Preempted | JobEnd::Lost { .. } => true,
            JobEnd::TimeLimit | JobEnd::OutOfMemory | JobEnd::Told => true,
            JobEnd::Cancelled | JobEnd::Dependency => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            JobEnd::TimeLimit => {
                "give it more by `resources: {time: 4h}`, or with `requeue: true` as many turns as \
                 it needs; a training goes on from its checkpoint"
            }
            JobEnd::OutOfMemory => "give it more by `resources: {memory: 16G}`",
            JobEnd::NodeFailed { .. } | JobEnd::Preempted => {
                "run again, or let Slurm do so by `resources: {requeue: true}`"
            }
            JobEnd::Cancelled => "run again if that was not meant",
            JobEnd::Dependency => "see what failed before it, and submit again",
            JobEnd::Told => "a time limit, preemption or `scancel`: run again",
            JobEnd::Lost { .. } => {
                "`scontrol show job`, or the node's log, may say more; run again"
            }
        }
    }
}

impl fmt::Display for JobEnd {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            JobEnd::TimeLimit => out.write_str("Slurm ended it: its time limit"),
            JobEnd::OutOfMemory => out.write_str("Slurm ended it: out of memory"),
            JobEnd::NodeFailed { nodes } if nodes.is_empty() => out.write_str("its node failed"),
            JobEnd::NodeFailed { nodes } => write!(out, "its node failed (`{nodes}`)"),
            JobEnd::Preempted => out.write_str("Slurm preempted it for another job"),
            JobEnd::Cancelled => out.write_str("its Slurm job was cancelled by hand"),
            JobEnd::Dependency => out.write_str("what its Slurm job waited for failed"),
            JobEnd::Told => out.write_str("Slurm told it to end, and no longer knows why"),
            JobEnd::Lost { said } => write!(out, "its Slurm job left no result ({said})"),
        }
    }
}

impl ExitStatus {
    pub fn is_success(&self) -> bool {
        *self == ExitStatus::Code(0)
    }

    /// Whether it ended by a signal of those that a scheduler sends, a shell's last command too.
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
            // How a shell says that its last command died of a signal.
            ExitStatus::Code(code @ 129..=159) => {
                write!(f, "exit code {code} (a process in it was killed by signal {}?)", code - 128)
            }
            ExitStatus::Code(code) => write!(f, "exit code {code}"),
            ExitStatus::OutOfMemory => f.write_str("killed, probably out of memory"),
            ExitStatus::Signal(signal) => {
                let meaning = match *signal {
                    libc::SIGKILL => "by somebody, or out of memory",
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

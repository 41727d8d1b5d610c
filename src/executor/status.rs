//! How a process is doing, how to end it, and how it ended.

use std::fmt;

use serde::{Deserialize, Serialize};
use stages::Event;

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
    /// `pipe` could not run the stage there.
    NodeCannot {
        said: String,
    },
    /// It ended without a result, and nobody knows why.
    Lost {
        said: String,
    },
}

impl JobEnd {
    /// Whether another attempt may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            JobEnd::NodeFailed { .. } | JobEnd::NodeCannot { .. } | JobEnd::Lost { .. } => true,
            JobEnd::Preempted | JobEnd::TimeLimit | JobEnd::OutOfMemory | JobEnd::Told => true,
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
            JobEnd::NodeCannot { .. } => "run again, or look at the node",
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
            JobEnd::NodeCannot { said } => write!(out, "its node could not run it: {said}"),
            JobEnd::Lost { said } => write!(out, "its Slurm job left no result ({said})"),
        }
    }
}

impl ExitStatus {
    pub fn is_success(&self) -> bool {
        *self == ExitStatus::Code(0)
    }

    /// Whether a scheduler may have ended it: by a signal, which a shell reports as its exit code,
    /// or by killing what watched over it.
    pub fn is_kill(&self) -> bool {
        const KILLS: [i32; 2] = [libc::SIGTERM, libc::SIGKILL];
        match self {
            ExitStatus::Signal(signal) => KILLS.contains(signal),
            ExitStatus::Code(code) => KILLS.contains(&(code - 128)),
            ExitStatus::Scheduler(end) => matches!(end, JobEnd::NodeCannot { .. }),
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

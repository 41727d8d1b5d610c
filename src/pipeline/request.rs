//! Which executor starts a stage, and what the stage asks of a cluster's scheduler. None of it
//! enters a key.

use std::fmt;
use std::time::Duration;

/// What starts the process of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExecutorName {
    /// The engine, on its own machine.
    Local,
    /// Slurm: `Srun` inside an allocation, else `Sbatch`.
    Slurm,
    /// A step of the allocation that the engine runs in.
    Srun,
    /// A batch job for each stage.
    Sbatch,
}

impl ExecutorName {
    pub const ALL: [ExecutorName; 4] =
        [ExecutorName::Local, ExecutorName::Slurm, ExecutorName::Srun, ExecutorName::Sbatch];

    pub fn name(self) -> &'static str {
        match self {
            ExecutorName::Local => "local",
            ExecutorName::Slurm => "slurm",
            ExecutorName::Srun => "srun",
            ExecutorName::Sbatch => "sbatch",
        }
    }

    /// The executor named `name`.
    pub fn find(name: &str) -> Option<ExecutorName> {
        ExecutorName::ALL.into_iter().find(|executor| executor.name() == name)
    }
}

impl fmt::Display for ExecutorName {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// How the files of a stage reach its node and return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transfer {
    /// The node sees the store at the same path.
    #[default]
    Shared,
    /// Through the remote of the run.
    Remote,
}

/// A request to the scheduler. `None` leaves a setting to the scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `--gres=gpu:N`, from the resource `gpu` of the stage.
    pub gpus: Option<u32>,
    /// `--cpus-per-task`
    pub cpus: Option<u32>,
    /// `--mem`, as Slurm writes it: `8G`.
    pub memory: Option<String>,
    /// `--time`
    pub time: Option<Duration>,
    pub partition: Option<String>,
    pub account: Option<String>,
    /// Whether the job is queued again after preemption, a failed node or its time limit.
    pub requeue: Option<bool>,
    /// How many tasks of an array run at once: `--array=0-N%k`.
    pub array_limit: Option<u32>,
    /// How long to wait until a shared file system shows a file that was written on a node.
    pub late_files: Option<Duration>,
    /// How the files of a stage reach its node and return.
    pub transfer: Option<Transfer>,
    /// Further options, passed on unchanged.
    pub options: Vec<String>,
}

/// The keys of `resources` that are requests to the scheduler, not counts.
pub(super) const REQUEST_KEYS: [&str; 10] = [
    "cpus",
    "memory",
    "time",
    "partition",
    "account",
    "requeue",
    "array_limit",
    "late_files",
    "transfer",
    "options",
];

impl Request {
    /// This request, with unset fields taken from `defaults`. The options of both are passed on,
    /// those of this request last, so that they win.
    pub(super) fn or(self, defaults: &Request) -> Request {
        let options = defaults.options.iter().cloned().chain(self.options).collect();
        Request {
            gpus: self.gpus.or(defaults.gpus),
            cpus: self.cpus.or(defaults.cpus),
            memory: self.memory.or_else(|| defaults.memory.clone()),
            time: self.time.or(defaults.time),
            partition: self.partition.or_else(|| defaults.partition.clone()),
            account: self.account.or_else(|| defaults.account.clone()),
            requeue: self.requeue.or(defaults.requeue),
            array_limit: self.array_limit.or(defaults.array_limit),
            late_files: self.late_files.or(defaults.late_files),
            transfer: self.transfer.or(defaults.transfer),
            options,
        }
    }
}

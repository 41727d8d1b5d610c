//! What a stage asks of a cluster's scheduler, and which executor starts it. None of it enters a
//! key.

use std::fmt;
use std::time::Duration;

/// Who starts a stage's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExecutorName {
    /// The engine itself, on its own machine.
    Local,
    /// Slurm: `Srun` inside an allocation, else `Sbatch`.
    Slurm,
    /// A step of the allocation that the engine is in.
    Srun,
    /// A batch job of its own.
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

    /// The one of that name.
    pub fn find(name: &str) -> Option<ExecutorName> {
        ExecutorName::ALL.into_iter().find(|executor| executor.name() == name)
    }
}

impl fmt::Display for ExecutorName {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// How the files of a stage get to its node and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transfer {
    /// Both see the store, at the same path.
    #[default]
    Shared,
    /// By way of the run's remote.
    Remote,
}

/// What is asked of the scheduler. What is not said is left to its defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `--gres=gpu:N`; the counted `gpu` of a stage that goes there.
    pub gpus: Option<u32>,
    /// `--cpus-per-task`
    pub cpus: Option<u32>,
    /// `--mem`, as Slurm writes it: `8G`.
    pub memory: Option<String>,
    /// `--time`
    pub time: Option<Duration>,
    pub partition: Option<String>,
    pub account: Option<String>,
    /// Whether it is queued again when it is preempted, its node fails or its time is up.
    pub requeue: Option<bool>,
    /// How many of an array run at once: `--array=0-N%k`.
    pub array_limit: Option<u32>,
    /// How long a file that must be there may take to be seen.
    pub late_files: Option<Duration>,
    /// How the files of a stage get to its node and back.
    pub transfer: Option<Transfer>,
    /// Handed on as they are.
    pub options: Vec<String>,
}

/// The keys of `resources` that count nothing.
pub const REQUEST_KEYS: [&str; 10] = [
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
    /// What this leaves open is taken from `defaults`. The options of both are handed on, those of
    /// this last, so that they win.
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

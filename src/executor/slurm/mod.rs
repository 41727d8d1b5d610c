//! The executor `slurm`: stages as steps of an allocation or as batch jobs of their own. Either way
//! the node runs `pipe job NAME FOLDER` ([`on_node`]), which starts the same process on the same
//! manifest as the executor `local` does, and leaves in the stage's folder what became of it.
//!
//! ```text
//! engine ── job.json, submission.json ──→ folder ──→ pipe job ── the stage's process
//!        ←─ events.jsonl, result.json ───        ←──
//!        ── sbatch, scancel, one squeue for all ──→ the scheduler
//! ```
//!
//! - The truth is the folder: a result is renamed into it whole. What the scheduler says is asked
//!   for only to explain an end without a result; nothing needs its accounting.
//! - A submission is noted in the folder under a name that is used once, before it is made. An
//!   engine that comes back, or was told that the submission failed when it did not, finds the
//!   job by that name (`clerk`).
//! - Who finds another name in the folder than its own, or no folder, stops: a job that was given
//!   up, a copy on a node that the scheduler took for dead. So two never compute in one folder.
//! - Where the nodes do not see the store, folders and results travel by way of a remote (`parcel`,
//!   `by_remote`).
//! - Nothing of this enters a key or, but for the machine's name and the seconds, a record.
//!
//! # Several GPUs for one training
//!
//! A stage is one process on one node. What data-parallel training would need, from reading the
//! sources of burn 0.22.1; nothing of it has been built or run:
//!
//! - Within one process burn has it: `DistributedContext::init(devices, config)` (`burn-tensor`) starts
//!   a thread that reduces gradients while the backward pass still runs; parameters opt in by
//!   `Tensor::set_distributed`. The operation, `all_reduce` of `DistributedOps` (`burn-backend`), is
//!   implemented in `burn-cubecl`, for CUDA by NCCL (`cubecl-cuda`). The trait's default is
//!   `unimplemented!()`, and `burn-flex`, our CPU, has no other: a test on the CPU is not possible.
//! - So for the GPUs of one node: a replica of the network and a thread for each device, and a batch's
//!   pieces, which `micro_batch` cuts already, dealt to them. The reduction must be the weighted sum
//!   that the pieces use now, not the mean. `resources: {gpu: N}` hands the GPUs to the stage as it is.
//! - Across nodes it has nothing: both the server that collects gradients (`burn-backend`) and the map
//!   of NCCL's identifiers (`cubecl-cuda`) are statics of the process. An identifier would have to
//!   travel to the other tasks of a job with `--nodes=N`; checkpoints would be the first task's.
//! - Sums of floats in another order are other bits: results would depend on the number of devices,
//!   which therefore would have to enter the key.

pub mod attached;
pub mod by_remote;
mod clerk;
pub mod detached;
pub mod folder;
pub mod graph;
pub mod on_node;
pub mod parcel;
mod queue;
mod request;

pub use request::LATE_FILES;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::executor::slurm::folder::JobFolder;
use crate::files::disk;
use crate::store::Store;
use crate::store::key::Key;

/// The hidden subcommand that nodes run.
pub const SUBCOMMAND: &str = "job";

/// Why Slurm does not run a stage.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    #[error("starting `{program}`: {source}")]
    NoProgram { program: &'static str, source: std::io::Error },
    #[error("Slurm does not take the stage: {said}")]
    Refused { said: String },
    #[error("the Slurm controller could not be reached for {minutes} minutes: {said}")]
    Unreachable { minutes: u64, said: String },
    /// A node does not see what the engine sees.
    #[error("{} does not see `{}`", node_name(node), path.display())]
    NotShared { node: String, path: PathBuf },
    #[error(
        "{} has run the stage, but nothing of it is to be seen in `{}` after {seconds} seconds",
        node_name(node),
        path.display()
    )]
    NothingBack { node: String, path: PathBuf, seconds: u64 },
    #[error("by way of remote `{remote}`: {problem}")]
    ByRemote { remote: String, problem: String },
    #[error("{} could not use the remote, or was not told how it is to be used", node_name(node))]
    NoRemoteThere { node: String },
    #[error("`--from` names no remote that this `pipe` understands")]
    NoSpec,
    #[error("`--submit` needs a file system that all nodes share, and `transfer` says `remote`")]
    SubmitShared,
    #[error("the engine no longer watches over its Slurm jobs")]
    NoClerk,
}

fn node_name(node: &str) -> String {
    if node.is_empty() { "the node".to_owned() } else { format!("node `{node}`") }
}

impl SlurmError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            SlurmError::NoProgram { .. } => {
                "`--executor local` runs everything here; Slurm's programs must be on the `PATH`"
                    .to_owned()
            }
            SlurmError::Refused { .. } => {
                "`resources` of the stage and `slurm` at the top of the pipeline say what it asks for"
                    .to_owned()
            }
            SlurmError::Unreachable { .. } => "`scontrol ping` says when it is back".to_owned(),
            SlurmError::NotShared { .. } => {
                "the store, the project and `pipe` itself must be at the same path on all nodes, \
                 on a file system that they share: `--cache DIR` puts the store elsewhere. Where \
                 there is none, `slurm: {transfer: remote}` goes by way of a remote"
                    .to_owned()
            }
            SlurmError::NothingBack { .. } => {
                "is the store on a file system that the nodes share? If it is only slow, say \
                 `slurm: {late_files: 5m}`"
                    .to_owned()
            }
            SlurmError::ByRemote { .. } => "`pipe doctor` asks the remotes; then run again".to_owned(),
            SlurmError::NoRemoteThere { .. } => {
                "the node needs what the remote needs: credentials and the secret in the environment \
                 that `sbatch` exports, or in the node's own `~/.config/pipe/config.yaml`, and a \
                 way to the server"
                    .to_owned()
            }
            SlurmError::NoSpec => "the engine and the node must have the same `pipe`".to_owned(),
            SlurmError::SubmitShared => "run without `--submit`: the engine then stays".to_owned(),
            SlurmError::NoClerk => "please report it; what is recorded is intact".to_owned(),
        })
    }
}

/// Makes a job of this key that an engine has left behind end: it finds its folder gone.
pub fn give_up(store: &Store, key: Key) {
    let folder = JobFolder(store.job_folder(key));
    let Some(submission) = folder.submission() else { return };
    let _ = disk::remove_folders(&folder.0);
    // It would notice by itself, were there no `scancel`.
    let mut scancel = Command::new("scancel");
    scancel.args(["--me", "--name", &submission.name]);
    if let Some(index) = submission.index {
        // Of an array all have one name: only its own place in it is meant.
        let Some(id) = folder.started().and_then(|started| started.job) else { return };
        scancel = Command::new("scancel");
        scancel.arg(format!("{}_{index}", id.split('_').next().unwrap_or_default()));
    }
    let _ = scancel.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

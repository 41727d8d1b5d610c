//! The executor `slurm`: stages as steps of an allocation or as batch jobs of their own. Either way
//! the node runs `pipe job NAME FOLDER` ([`on_node`]), which starts the same process on the same
//! manifest as the executor `local` does, and leaves the outcome in the stage's folder.
//!
//! ```text
//! engine ── job.json, submission.json ──→ folder ──→ pipe job ── the stage's process
//!        ←─ events.jsonl, result.json ───        ←──
//!        ── sbatch, scancel, one squeue for all ──→ the scheduler
//! ```
//!
//! - The folder is authoritative: a complete result is renamed into it. The scheduler is only asked
//!   to explain an end without a result; its accounting is not needed.
//! - Before a submission is made, it is noted in the folder under a name that is used once. An
//!   engine that comes back, or was told that the submission failed when it did not, finds the job by
//!   that name (`clerk`).
//! - A job that finds another name than its own in the folder, or no folder, stops: it was given
//!   up, or it is a copy on a node that the scheduler considered dead. So two jobs never compute in
//!   one folder.
//! - If the nodes do not see the store, folders and results travel through a remote (`parcel`,
//!   `by_remote`).
//! - Nothing of this enters a key. Only the machine's name and the seconds enter a record.
//!
//! # Several GPUs for one training
//!
//! A stage is one process on one node. Data-parallel training would need the following, from
//! reading the sources of burn 0.22.1; nothing of it has been built or run:
//!
//! - Within one process burn supports it: `DistributedContext::init(devices, config)`
//!   (`burn-tensor`) starts a thread that reduces gradients while the backward pass still runs;
//!   parameters opt in with `Tensor::set_distributed`. The operation, `all_reduce` of
//!   `DistributedOps` (`burn-backend`), is implemented in `burn-cubecl` and, for CUDA, by NCCL
//!   (`cubecl-cuda`). The trait's default is `unimplemented!()`, which is all that `burn-flex`, our
//!   CPU backend, has: a test on the CPU is not possible.
//! - For the GPUs of one node this means: a replica of the network and a thread per device, and the
//!   micro-batches that `micro_batch` already creates, distributed over them. The reduction must be
//!   the weighted sum that the micro-batches use now, not the mean. `resources: {gpu: N}` gives the
//!   GPUs to the stage as it is.
//! - Across nodes burn does not support it: both the server that collects gradients
//!   (`burn-backend`) and the map of NCCL's identifiers (`cubecl-cuda`) are statics of the process.
//!   An identifier would have to be sent to the other tasks of a job with `--nodes=N`; the first task
//!   would write the checkpoints.
//! - A sum of floats in another order has other bits: results would depend on the number of
//!   devices, which would then have to enter the key.

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
    #[error("Slurm rejected the stage: {said}")]
    Refused { said: String },
    #[error("the Slurm controller could not be reached for {minutes} minutes: {said}")]
    Unreachable { minutes: u64, said: String },
    /// A node does not see a path that the engine sees.
    #[error("{} does not see `{}`", node_name(node), path.display())]
    NotShared { node: String, path: PathBuf },
    #[error(
        "{} has run the stage, but no result appeared in `{}` within {seconds} seconds",
        node_name(node),
        path.display()
    )]
    NothingBack { node: String, path: PathBuf, seconds: u64 },
    #[error("transfer through remote `{remote}`: {problem}")]
    ByRemote { remote: String, problem: String },
    #[error("{} could not use the remote, or does not know how to reach it", node_name(node))]
    NoRemoteThere { node: String },
    #[error("this `pipe` does not understand the remote given by `--from`")]
    NoSpec,
    #[error("`--submit` needs a file system that all nodes share, but `transfer` is `remote`")]
    SubmitShared,
    #[error("the thread that watches the Slurm jobs has ended")]
    NoClerk,
}

fn node_name(node: &str) -> String {
    if node.is_empty() { "the node".to_owned() } else { format!("node `{node}`") }
}

impl SlurmError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            SlurmError::NoProgram { .. } => {
                "put Slurm's programs on the `PATH`, or run everything here with `--executor local`"
                    .to_owned()
            }
            SlurmError::Refused { .. } => {
                "check `resources` of the stage and `slurm` at the top of the pipeline".to_owned()
            }
            SlurmError::Unreachable { .. } => "`scontrol ping` shows when it is back".to_owned(),
            SlurmError::NotShared { .. } => {
                "the store, the project and `pipe` itself must be at the same path on all nodes, \
                 on a shared file system: `--cache DIR` moves the store. Without a shared file \
                 system, `slurm: {transfer: remote}` sends files through a remote"
                    .to_owned()
            }
            SlurmError::NothingBack { .. } => {
                "is the store on a file system that the nodes share? If it is only slow, set \
                 `slurm: {late_files: 5m}`"
                    .to_owned()
            }
            SlurmError::ByRemote { .. } => {
                "check the remotes with `pipe doctor`, then run again".to_owned()
            }
            SlurmError::NoRemoteThere { .. } => {
                "the node needs credentials and the secret for the remote, in the environment \
                 that `sbatch` exports or in the node's own `~/.config/pipe/config.yaml`, and \
                 network access to the server"
                    .to_owned()
            }
            SlurmError::NoSpec => "install the same version of `pipe` on the node".to_owned(),
            SlurmError::SubmitShared => {
                "run without `--submit`: the engine then keeps running".to_owned()
            }
            SlurmError::NoClerk => "please report it; recorded results are intact".to_owned(),
        })
    }
}

/// Ends a job of this key that a dead engine has left behind: the job stops when its folder is
/// gone.
pub fn give_up(store: &Store, key: Key) {
    let folder = JobFolder(store.job_folder(key));
    let Some(submission) = folder.submission() else { return };
    let _ = disk::remove_folders(&folder.0);
    // The job would notice by itself, so a failing `scancel` does no harm.
    let mut scancel = Command::new("scancel");
    scancel.args(["--me", "--name", &submission.name]);
    if let Some(index) = submission.index {
        // All members of an array have one name, so cancel only this member by its ID.
        let Some(id) = folder.started().and_then(|started| started.job) else { return };
        scancel = Command::new("scancel");
        scancel.arg(format!("{}_{index}", id.split('_').next().unwrap_or_default()));
    }
    let _ = scancel.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

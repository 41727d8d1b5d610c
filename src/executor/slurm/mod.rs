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
pub mod error;
pub mod folder;
pub mod graph;
pub mod on_node;
pub mod parcel;
mod queue;
pub mod request;

use std::process::{Command, Stdio};

use crate::executor::slurm::folder::JobFolder;
use crate::files::disk;
use crate::store::Store;
use crate::store::key::Key;

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

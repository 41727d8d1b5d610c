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
mod launch;
pub mod local;
mod memory;
pub mod signals;
pub mod slurm;
pub mod status;
mod supervisor;
pub mod task;

use std::path::PathBuf;

use crate::executor::slurm::error::SlurmError;
use crate::executor::status::{Ended, News, Stop};
use crate::executor::task::Task;
use crate::files::file_error::FileError;
use crate::pipeline::ExecutorName;
use crate::store::key::Key;

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

    /// Whether the executor itself ends a process that takes longer than [`task::Work::limit`]. The time
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

/// Ends a process.
pub trait Stopper: Send {
    fn stop(&self, how: Stop);
}

//! What the clerk receives, and what it sends to the stages.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::folder::{JobFolder, Submission};
use crate::executor::slurm::parcel::{Parcel, RemoteSpec};
use crate::executor::slurm::queue::{JobName, QueueEntry, Unanswered};
use crate::executor::status::{Ended, News, Stop};

/// What the clerk is told to do, or learns.
pub enum Order {
    Submit(Box<Submit>),
    Stop {
        number: u64,
        how: Stop,
    },
    /// The answer of `sbatch`.
    Submitted {
        group: Box<Group>,
        answer: Result<String, Unanswered>,
    },
    /// The answer of `squeue` to a question asked at that time.
    Queue {
        asked: Instant,
        answer: Result<BTreeMap<JobName, QueueEntry>, Unanswered>,
    },
    Cancelled {
        answer: Result<(), Unanswered>,
    },
    /// No stage waits any more.
    Close,
}

/// A stage to submit.
pub struct Submit {
    pub number: u64,
    pub folder: JobFolder,
    /// The stage's name without a variant's label: variants are submitted together.
    pub family: String,
    pub options: Vec<String>,
    pub array_limit: Option<u32>,
    pub late: Duration,
    /// What a dead engine has submitted for this stage.
    pub taken_up: Option<Submission>,
    /// Set if the nodes do not see the folder.
    pub parcel: Option<Arc<Parcel>>,
    pub sender: Sender<Heard>,
}

/// What a stage hears from the clerk.
pub enum Heard {
    News(News),
    End(Result<Ended, SlurmError>),
}

/// Stages that are submitted together.
pub struct Group {
    pub(super) numbers: Vec<u64>,
    pub(super) name: String,
    /// A stage's folder, or a list of folders.
    pub(super) path: PathBuf,
    pub(super) options: Vec<String>,
    pub(super) array_limit: Option<u32>,
    pub(super) late: Duration,
    /// For a transfer through a remote: the parcel of each member, and what nodes need to know
    /// about the remote.
    pub(super) parcels: Option<(Vec<String>, RemoteSpec)>,
    /// Do not submit it before then.
    pub(super) due: Instant,
    /// Since when submitting it has failed.
    pub(super) refused_since: Option<Instant>,
    /// Nobody knows whether the last submission was accepted.
    pub(super) in_doubt: bool,
}

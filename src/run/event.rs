//! What a run reports while it is under way: `console` draws it, `--json` prints one object per
//! line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stages::Event;

use crate::plan::reason::Reason;
use crate::run::publish::Published;
use crate::store::key::Key;
use crate::store::record::{Artifact, Record};

/// One event, printed as one line by `--json`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    RunStarted {
        stages: usize,
        jobs: usize,
    },
    /// Something outside this run delays a stage.
    StageWaiting {
        stage: String,
        message: String,
    },
    StageStarted {
        stage: String,
        key: Key,
        reason: Reason,
    },
    /// The stage is frozen: its newest result, which has this key, is used whatever its inputs are.
    StageFrozen {
        stage: String,
        key: Key,
        /// How the fields of that key differ from the current ones.
        #[serde(skip_serializing_if = "Option::is_none")]
        differs: Option<Reason>,
    },
    StageRetried {
        stage: String,
        #[serde(flatten)]
        retry: Retry,
    },
    /// An event from the stage's process.
    StageSays {
        stage: String,
        said: Event,
    },
    StageFinished(Box<StageFinished>),
    Published {
        stage: String,
        output: String,
        path: PathBuf,
        result: Published,
    },
    /// All stages are done, and this many results are still being uploaded.
    Uploading {
        remote: String,
        results: usize,
    },
    /// A warning that does not belong to a running stage.
    Warning {
        message: String,
    },
    RunFinished(Summary),
}

/// A new attempt after a failed one.
#[derive(Clone, Debug, Serialize)]
pub struct Retry {
    /// The number of the attempt that starts; the first attempt is 1.
    pub attempt: u32,
    pub attempts: u32,
    /// How the previous attempt failed.
    pub message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// The log of the previous attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
}

/// How a stage ended.
#[derive(Clone, Debug, Serialize)]
pub struct StageFinished {
    pub stage: String,
    pub outcome: Outcome,
    /// In this run; close to 0 for a hit.
    pub seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Artifact>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// For a hit: the seconds it took when it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_seconds: Option<f64>,
    /// The remote from which this run downloaded the result, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Why it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The last lines of the log of a failed process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Hit,
    Ran,
    Failed,
    Skipped,
}

/// The totals of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub ran: usize,
    pub hits: usize,
    pub failed: usize,
    /// Those of the failed that an interrupt ended.
    pub stopped: usize,
    pub skipped: usize,
    /// Outputs that could not be published.
    pub not_published: usize,
    pub interrupted: bool,
    pub seconds: f64,
    /// How long the hits took when they ran.
    pub saved_seconds: f64,
    /// How many source and published files had to be read to compute their digests.
    pub files_read: u64,
    /// Only in a run with a remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteTraffic>,
}

/// How many results were downloaded from a remote and uploaded to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RemoteTraffic {
    pub name: String,
    pub pulled: usize,
    pub pushed: usize,
}

impl StageFinished {
    pub fn of_record(stage: &str, outcome: Outcome, seconds: f64, record: &Record) -> Self {
        StageFinished {
            key: Some(record.key),
            outputs: record.outputs.clone(),
            metrics: record.metrics.clone(),
            saved_seconds: (outcome == Outcome::Hit).then_some(record.seconds),
            ..StageFinished::without_record(stage, outcome, seconds)
        }
    }

    pub fn without_record(stage: &str, outcome: Outcome, seconds: f64) -> Self {
        StageFinished {
            stage: stage.to_owned(),
            outcome,
            seconds,
            key: None,
            outputs: BTreeMap::new(),
            metrics: BTreeMap::new(),
            saved_seconds: None,
            remote: None,
            message: None,
            hint: None,
            last_lines: Vec::new(),
            log: None,
        }
    }
}

//! What a run tells while it goes on: `console` draws it, `--json` prints it, one object a line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stages::Event;

use crate::plan::reason::Reason;
use crate::run::publish::Published;
use crate::store::key::Key;
use crate::store::record::{Artifact, Record};

/// One line.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    RunStarted {
        stages: usize,
        jobs: usize,
    },
    /// Something holds a stage up that this run does not control.
    StageWaiting {
        stage: String,
        message: String,
    },
    StageStarted {
        stage: String,
        key: Key,
        reason: Reason,
    },
    /// It does not run whatever its inputs are: its newest result stands, of this key.
    StageFrozen {
        stage: String,
        key: Key,
        /// How that key differs from now.
        #[serde(skip_serializing_if = "Option::is_none")]
        differs: Option<Reason>,
    },
    StageRetried {
        stage: String,
        #[serde(flatten)]
        retry: Retry,
    },
    /// What the stage's process says.
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
    /// All stages are done, and so many results are still on their way to a remote.
    Uploading {
        remote: String,
        results: usize,
    },
    /// Something a person should know that belongs to no running stage.
    Warning {
        message: String,
    },
    RunFinished(Summary),
}

/// An attempt that follows a failed one.
#[derive(Clone, Debug, Serialize)]
pub struct Retry {
    /// The one that begins; the first was 1.
    pub attempt: u32,
    pub attempts: u32,
    /// How the one before failed.
    pub message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub last_lines: Vec<String>,
    /// Its log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
}

/// How a stage ended.
#[derive(Clone, Debug, Serialize)]
pub struct StageFinished {
    pub stage: String,
    pub outcome: Outcome,
    /// In this run; nearly nothing for a hit.
    pub seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Artifact>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// For a hit: what it took when it ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_seconds: Option<f64>,
    /// Of a hit that was not in the store before: the remote that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Why it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The last lines of a failed process's log.
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

/// The whole run in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    pub ran: usize,
    pub hits: usize,
    pub failed: usize,
    pub skipped: usize,
    /// Outputs that could not be published.
    pub not_published: usize,
    pub interrupted: bool,
    pub seconds: f64,
    /// What the hits took when they ran.
    pub saved_seconds: f64,
    /// Source and published files that had to be read to know their digests.
    pub files_read: u64,
    /// Of a run with a remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteTraffic>,
}

/// How many results came from a remote and went there.
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

//! The events that a stage's process reports while it runs: one JSON object per line on its
//! standard output. The engine shows progress from them and keeps metrics in the record.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

/// One event, which is one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The device that the stage runs on, in words: `cpu (2 threads)`, `cuda:0 (NVIDIA H200)`.
    Device { name: String },
    /// How far the stage has come. `values` are only displayed, for instance `epoch`, `loss` and
    /// `tokens_per_second`.
    Progress {
        done: u64,
        total: Option<u64>,
        unit: String,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        values: BTreeMap<String, f64>,
    },
    /// Figures to keep in the record. With a `step` (an epoch, for instance) they are a row of the
    /// history; without one they are the stage's results.
    Metrics {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u64>,
        values: BTreeMap<String, f64>,
    },
    /// A message for the user: `resumed at step 412 of 564`.
    Note { message: String },
    /// A message for the user that something may be wrong.
    Warning { message: String },
    /// The stage has failed. Its exit status says so too.
    Failed {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// The sink of a stage's events. Each event is written as one whole line.
pub struct Events(Mutex<Box<dyn Write + Send>>);

impl Events {
    pub fn new(sink: impl Write + Send + 'static) -> Events {
        Events(Mutex::new(Box::new(sink)))
    }

    /// A sink that discards every event, for tests.
    pub fn discard() -> Events {
        Events::new(std::io::sink())
    }

    /// Writes one event. A write error is ignored: it means that the engine has exited, and then
    /// the engine has already told the stage to end by a signal.
    pub fn emit(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else { return };
        line.push(b'\n');
        let mut sink = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = sink.write_all(&line).and_then(|()| sink.flush());
    }
}

//! What a stage's process says while it runs: one JSON object a line on its standard output.
//! The engine draws progress from it and keeps metrics in the record.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Where the stage runs, in words: `cpu (2 threads)`, `cuda:0 (NVIDIA H200)`.
    Device { name: String },
    /// How far it is. `values` are for the eye: `epoch`, `loss`, `tokens_per_second`.
    Progress {
        done: u64,
        total: Option<u64>,
        unit: String,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        values: BTreeMap<String, f64>,
    },
    /// Figures to keep in the record. With a `step` (an epoch) they are a row of a history,
    /// without they are the stage's results.
    Metrics {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<u64>,
        values: BTreeMap<String, f64>,
    },
    /// Something a person should read: `resumed at step 412 of 564`.
    Note { message: String },
    /// As [`Event::Note`], but something may be wrong.
    Warning { message: String },
    /// The stage has failed, and why; its exit status says so too.
    Failed {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

/// Where events go. A line is written whole or not at all.
pub struct Events(Mutex<Box<dyn Write + Send>>);

impl Events {
    pub fn new(sink: impl Write + Send + 'static) -> Events {
        Events(Mutex::new(Box::new(sink)))
    }

    /// Nowhere: for tests.
    pub fn discard() -> Events {
        Events::new(std::io::sink())
    }

    /// Writes one event. An engine that has gone away is no reason to fail: it has already
    /// told the stage to end by a signal.
    pub fn emit(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else { return };
        line.push(b'\n');
        let mut sink = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = sink.write_all(&line).and_then(|()| sink.flush());
    }
}

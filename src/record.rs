//! A record: what a run of one key produced. It is written last and by rename, so that it never
//! names an object that is not there, and it carries a check sum, so that a damaged one counts
//! as absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Content, Digest};
use crate::key::{Key, KeyFields};

/// What is kept of a stage's run, in `cache/records/ab/<key>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub key: Key,
    /// The name of the stage that ran first with this key.
    pub stage: String,
    pub fields: KeyFields,
    pub outputs: BTreeMap<String, Artifact>,
    /// The final figures.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Figures by step (an epoch), in the order in which they came.
    #[serde(default)]
    pub history: Vec<MetricsRow>,
    pub seconds: f64,
    /// As the stage told it: `cpu (2 threads)`.
    #[serde(default)]
    pub device: Option<String>,
    pub machine: String,
    /// 0: as many as there were cores.
    pub threads: usize,
    /// When it ended, RFC 3339 in UTC.
    pub when: String,
    /// The version of `pipe`.
    pub pipe: String,
}

/// One output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub content: Content,
    /// Of all files, if it is a folder.
    pub bytes: u64,
}

/// Metrics at one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsRow {
    pub step: u64,
    pub values: BTreeMap<String, f64>,
}

const CHECK: &str = ",\"check\":\"";

impl Record {
    /// One line of JSON whose last member is the BLAKE3 of all before it.
    pub fn to_text(&self) -> String {
        // Strings, numbers and digests always serialize; an empty text would not be read back.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.pop();
        let check = Digest::of_bytes(text.as_bytes());
        text.push_str(CHECK);
        text.push_str(&check.to_string());
        text.push_str("\"}\n");
        text
    }

    /// Reads such a text; `None` if it is damaged or not of this key.
    pub fn parse(text: &str, key: Key) -> Option<Record> {
        let at = text.rfind(CHECK)?;
        let (body, rest) = (&text[..at], &text[at + CHECK.len()..]);
        let check: Digest = rest.strip_suffix("\"}\n")?.parse().ok()?;
        (check == Digest::of_bytes(body.as_bytes())).then_some(())?;
        let record: Record = serde_json::from_str(text).ok()?;
        (record.key == key).then_some(record)
    }
}

/// Now, as records write it.
pub fn now_rfc3339() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}

/// This machine's name, system and architecture.
pub fn machine() -> String {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    format!("{} ({} {})", text(uname.nodename()), text(uname.sysname()), text(uname.machine()))
}

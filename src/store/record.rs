//! A record: what a run of one key produced. It is written last and by rename, so that it never
//! names an object that is not there, and it carries a check sum, so that a damaged one counts
//! as absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::files::digest::{Content, Digest};
use crate::store::key::{Key, KeyFields};

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

impl Record {
    /// See [`with_check`].
    pub fn to_text(&self) -> String {
        with_check(self)
    }

    /// Reads such a text; `None` if it is damaged or not of this key.
    pub fn parse(text: &str, key: Key) -> Option<Record> {
        is_whole(text).then_some(())?;
        let record: Record = serde_json::from_str(text).ok()?;
        (record.key == key).then_some(record)
    }
}

const CHECK: &str = ",\"check\":\"";

/// One line of JSON whose last member is the BLAKE3 of all before it. The value is a struct of
/// strings, numbers and digests, with a field at least.
pub fn with_check(value: &impl Serialize) -> String {
    // Such a value always serializes; an empty text would not be read back.
    let mut text = serde_json::to_string(value).unwrap_or_default();
    text.pop();
    let check = Digest::of_bytes(text.as_bytes());
    text.push_str(CHECK);
    text.push_str(&check.to_string());
    text.push_str("\"}\n");
    text
}

/// Whether a text of [`with_check`] is as it was written.
pub fn is_whole(text: &str) -> bool {
    let Some(at) = text.rfind(CHECK) else { return false };
    let (body, rest) = (&text[..at], &text[at + CHECK.len()..]);
    let check = rest.strip_suffix("\"}\n").and_then(|check| check.parse::<Digest>().ok());
    check == Some(Digest::of_bytes(body.as_bytes()))
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

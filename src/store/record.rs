//! A record: what a run of one key produced. It is written last and by rename, so it never names
//! an object that does not exist. It carries a checksum, and a damaged record counts as absent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::files::digest::{Content, Digest};
use crate::files::tree::TreeFile;
use crate::store::key::{Key, KeyFields};

/// The file `cache/records/ab/<key>.json`. `F` is another type where the fields are not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<F = Arc<KeyFields>> {
    pub key: Key,
    /// The name of the first stage that ran with this key.
    pub stage: String,
    pub fields: F,
    pub outputs: BTreeMap<String, Artifact>,
    /// The final metrics.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Metrics by step (for training, an epoch), in the order in which the stage reported them.
    #[serde(default)]
    pub history: Vec<MetricsRow>,
    pub seconds: f64,
    /// As the stage reported it: `cpu (2 threads)`.
    #[serde(default)]
    pub device: Option<String>,
    pub machine: String,
    /// The number of threads; 0 means one for each core.
    pub threads: usize,
    /// When the run ended, as RFC 3339 in UTC.
    pub when: String,
    /// The version of `pipe` that wrote the record.
    pub pipe: String,
}

/// One output of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub content: Content,
    /// The size; for a folder, the sum of its files.
    pub bytes: u64,
}

impl Artifact {
    pub fn of(file: TreeFile) -> Artifact {
        Artifact { content: file.content(), bytes: file.bytes }
    }

    /// The only file of an artifact that is no folder.
    pub fn file(&self) -> TreeFile {
        let Content { executable, digest, .. } = self.content;
        TreeFile { digest, bytes: self.bytes, executable }
    }
}

/// The metrics of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricsRow {
    pub step: u64,
    pub values: BTreeMap<String, f64>,
}

impl Record {
    /// The text of the record's file; see [`with_check`].
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        with_check(self)
    }

    /// Reads the text of [`Record::to_text`]; `None` if it is damaged or is the record of another
    /// key.
    pub fn parse(text: &str, key: Key) -> Option<Record> {
        is_whole(text).then(|| Record::parse_whole(text, key))?
    }
}

impl<F: DeserializeOwned> Record<F> {
    /// As [`Record::parse`], for a text that is known to be undamaged.
    pub(super) fn parse_whole(text: &str, key: Key) -> Option<Record<F>> {
        let record: Record<F> = serde_json::from_str(text).ok()?;
        (record.key == key).then_some(record)
    }
}

impl<F> Record<F> {
    /// This record with other fields.
    pub(super) fn with_fields<G>(self, fields: G) -> Record<G> {
        let Record { key, stage, outputs, metrics, history, .. } = self;
        let Record { seconds, device, machine, threads, when, pipe, .. } = self;
        Record {
            key,
            stage,
            fields,
            outputs,
            metrics,
            history,
            seconds,
            device,
            machine,
            threads,
            when,
            pipe,
        }
    }
}

const CHECK: &str = ",\"check\":\"";

/// A JSON object on one line, whose last member is the BLAKE3 hash of everything before it. `value`
/// is a struct or a map that is not empty.
///
/// # Errors
///
/// If JSON cannot express the value, such as a map whose keys are not strings.
pub fn with_check(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(value)?;
    text.pop();
    let check = Digest::of_bytes(text.as_bytes());
    text.push_str(CHECK);
    text.push_str(&check.to_string());
    text.push_str("\"}\n");
    Ok(text)
}

/// Whether the text of [`with_check`] is undamaged.
pub fn is_whole(text: &str) -> bool {
    let Some(at) = text.rfind(CHECK) else { return false };
    let (body, rest) = (&text[..at], &text[at + CHECK.len()..]);
    let check = rest.strip_suffix("\"}\n").and_then(|check| check.parse::<Digest>().ok());
    check == Some(Digest::of_bytes(body.as_bytes()))
}

/// The current time, as records write it.
pub fn now_rfc3339() -> String {
    humantime::format_rfc3339_seconds(writable(SystemTime::now())).to_string()
}

/// A time that RFC 3339 can write. A clock that is wrong may be before 1970 or after 9999; it must
/// not stop a run, since no result depends on it.
pub fn writable(time: SystemTime) -> SystemTime {
    /// The last second of the year 9999.
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    time.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST)
}

/// This machine's name, system and architecture.
pub fn machine() -> String {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    format!("{} ({} {})", text(uname.nodename()), text(uname.sysname()), text(uname.machine()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::writable;

    #[test]
    fn a_clock_outside_of_what_can_be_written_stops_nothing() {
        let written = |time| humantime::format_rfc3339_seconds(writable(time)).to_string();
        let day = Duration::from_secs(86_400);
        assert_eq!(written(UNIX_EPOCH - 1000 * day), "1970-01-01T00:00:00Z");
        assert_eq!(written(UNIX_EPOCH + 4_000_000 * day), "9999-12-31T23:59:59Z");
        assert_eq!(written(UNIX_EPOCH + day), "1970-01-02T00:00:00Z");
    }
}

//! Reading what the stages of a run have made: predictions, scores, figures by step, and the texts
//! of examples. An artifact is read only if its bytes are those that the record names.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stages::Kind;
use stages::data::example::Example;
use stages::data::prediction::Prediction;

use crate::files::digest::{Content, Digest};
use crate::pipeline::{Input, Pipeline};
use crate::store::Store;
use crate::store::record::{Artifact, MetricsRow, Record};

/// The records of one run, and where the bytes that they name are.
pub struct Artifacts<'a> {
    store: &'a Store,
    /// As it is now, if it can be read: where inputs that no stage made come from.
    pipeline: Option<&'a Pipeline>,
    /// By place in the run.
    pub records: Vec<Option<Record>>,
    names: Vec<String>,
    /// Who has made some bytes, and as which output; several stages may have made the same.
    makers: BTreeMap<Content, Vec<(usize, String)>>,
}

/// Why an artifact cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("is no longer in the cache")]
    Gone,
    #[error("is damaged in the cache")]
    Damaged,
    #[error("is too large for a report")]
    TooLarge,
    #[error("is of another kind")]
    OtherKind,
}

/// What is larger is not read.
const MOST_BYTES: u64 = 256 << 20;

/// Files of predictions of built-ins, and commands that call their outputs so.
const PREDICTIONS: [&str; 2] = ["predictions", "valid"];

impl<'a> Artifacts<'a> {
    /// `stages` are the names and records of a run's stages.
    pub fn new(
        store: &'a Store,
        pipeline: Option<&'a Pipeline>,
        stages: Vec<(String, Option<Record>)>,
    ) -> Artifacts<'a> {
        let mut makers: BTreeMap<Content, Vec<(usize, String)>> = BTreeMap::new();
        for (place, (_, record)) in stages.iter().enumerate() {
            for (name, artifact) in record.iter().flat_map(|record| &record.outputs) {
                makers.entry(artifact.content).or_default().push((place, name.clone()));
            }
        }
        let (names, records) = stages.into_iter().unzip();
        Artifacts { store, pipeline, records, names, makers }
    }

    pub fn name(&self, place: usize, output: &str) -> String {
        format!("{}:{output}", self.names[place])
    }

    pub fn makers(&self, content: Content) -> &[(usize, String)] {
        self.makers.get(&content).map_or(&[], Vec::as_slice)
    }

    pub fn holds(&self, artifact: &Artifact) -> bool {
        self.store.holds(artifact)
    }

    /// The outputs of a stage that are predictions, or may be.
    pub fn predictions_of(&self, place: usize) -> Vec<String> {
        let Some(record) = &self.records[place] else { return Vec::new() };
        let builtin = record.fields.action.builtin();
        let known = builtin.map_or(&PREDICTIONS[..], stages::predictions_of);
        let outputs = record.outputs.iter().filter(|(name, _)| known.contains(&name.as_str()));
        outputs.map(|(name, _)| name.clone()).collect()
    }

    pub fn content(&self, place: usize, output: &str) -> Option<Content> {
        self.artifact(place, output).map(|artifact| artifact.content)
    }

    fn artifact(&self, place: usize, output: &str) -> Option<&Artifact> {
        self.records[place].as_ref()?.outputs.get(output)
    }

    /// The rows of a file of predictions, every one of them valid.
    pub fn predictions(&self, place: usize, output: &str) -> Result<Vec<Prediction>, Unreadable> {
        let artifact = self.artifact(place, output).ok_or(Unreadable::Gone)?;
        let bytes = self.read(artifact)?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let rows: Option<Vec<Prediction>> = lines
            .map(|line| {
                let row: Prediction = serde_json::from_slice(line).ok()?;
                row.check().is_ok().then_some(row)
            })
            .collect();
        rows.filter(|rows| !rows.is_empty()).ok_or(Unreadable::OtherKind)
    }

    /// A JSON object of a stage that scores: by input figures and counts.
    pub fn scores(&self, place: usize) -> Option<Result<Value, Unreadable>> {
        let artifact = self.artifact(place, "scores")?;
        let parsed = self.read(artifact).and_then(|bytes| {
            let value: Result<Value, _> = serde_json::from_slice(&bytes);
            value.ok().filter(Value::is_object).ok_or(Unreadable::OtherKind)
        });
        Some(parsed)
    }

    /// Figures by step: what the stage has told, else what its output `metrics` holds line by line.
    pub fn history(&self, place: usize) -> Vec<MetricsRow> {
        let Some(record) = &self.records[place] else { return Vec::new() };
        if !record.history.is_empty() {
            return record.history.clone();
        }
        let bytes = record.outputs.get("metrics").and_then(|artifact| self.read(artifact).ok());
        let bytes = bytes.unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let row = |line: &[u8]| {
            let mut values: BTreeMap<String, Value> = serde_json::from_slice(line).ok()?;
            // An epoch stays among the figures, as stages tell it: it says what is counted.
            let step = values.get("epoch").cloned().or_else(|| values.remove("step"))?.as_u64()?;
            let values = values.into_iter().filter_map(|(name, it)| Some((name, it.as_f64()?)));
            Some(MetricsRow { step, values: values.collect() })
        };
        let rows: Option<Vec<MetricsRow>> = lines.map(row).collect();
        rows.unwrap_or_default()
    }

    /// The examples of these ids which predictions are about: the nearest file among what they
    /// were made from that has them all.
    pub fn examples(
        &self,
        place: usize,
        output: &str,
        ids: &BTreeSet<&str>,
    ) -> Option<BTreeMap<String, Example>> {
        // What `predict` calls `predictions` is of its input `test`.
        let input = if output == "predictions" { "test" } else { output };
        let mut open = VecDeque::from([(place, input.to_owned())]);
        let mut seen = BTreeSet::new();
        while let Some((place, wanted)) = open.pop_front() {
            let Some(record) = &self.records[place] else { continue };
            let mut inputs: Vec<(&String, &Content)> = record.fields.inputs.iter().collect();
            inputs.sort_by_key(|(name, _)| **name != wanted);
            for (name, content) in inputs {
                if content.kind != Kind::File || !seen.insert(*content) {
                    continue;
                }
                let file = self.file_of(place, name, *content);
                let found = file.and_then(|file| examples_in(&file, *content, ids));
                if found.is_some() {
                    return found;
                }
                open.extend(self.makers(*content).iter().cloned());
            }
        }
        None
    }

    /// Where the bytes of an input are: in the store, or at a path.
    fn file_of(&self, place: usize, input: &str, content: Content) -> Option<PathBuf> {
        if !self.makers(content).is_empty() {
            return Some(self.store.object(content));
        }
        match self.pipeline?.stage(&self.names[place])?.inputs.get(input)? {
            Input::Path(path) => Some(path.clone()),
            _ => None,
        }
    }

    fn read(&self, artifact: &Artifact) -> Result<Vec<u8>, Unreadable> {
        if artifact.content.kind != Kind::File {
            return Err(Unreadable::OtherKind);
        }
        if artifact.bytes > MOST_BYTES {
            return Err(Unreadable::TooLarge);
        }
        let bytes = fs::read(self.store.object(artifact.content)).map_err(|_| Unreadable::Gone)?;
        match Digest::of_bytes(&bytes) == artifact.content.digest {
            true => Ok(bytes),
            false => Err(Unreadable::Damaged),
        }
    }
}

/// `None` unless the file holds these bytes, they are examples, and all of `ids` are among them.
fn examples_in(
    file: &Path,
    content: Content,
    ids: &BTreeSet<&str>,
) -> Option<BTreeMap<String, Example>> {
    let metadata = fs::metadata(file).ok()?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return None;
    }
    let bytes = fs::read(file).ok()?;
    // Token files are no JSON; that is seen before they are hashed.
    if bytes.first() != Some(&b'{') || Digest::of_bytes(&bytes) != content.digest {
        return None;
    }
    let mut found = BTreeMap::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let example: Example = serde_json::from_slice(line).ok()?;
        if ids.contains(example.id.as_str()) {
            found.insert(example.id.clone(), example);
        }
    }
    (found.len() == ids.len()).then_some(found)
}

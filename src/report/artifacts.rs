//! Reads the artifacts of a run: predictions, scores, metrics by step, and the texts of examples. An
//! artifact is used only if its bytes match its digest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use stages::Kind;
use stages::data::example::Example;
use stages::data::prediction::Prediction;

use crate::files::digest::{Content, Digest};
use crate::pipeline::{Input, Pipeline};
use crate::store::Store;
use crate::store::record::{Artifact, MetricsRow, Record};

/// The records of one run, and access to the artifacts that they name.
pub struct Artifacts<'a> {
    store: &'a Store,
    /// The current pipeline, if it can be read: the sources of inputs that no stage made.
    pipeline: Option<&'a Pipeline>,
    /// In the order of the run.
    pub records: Vec<Option<Record>>,
    names: Vec<String>,
    /// The stages and outputs that made each content; several may have made the same bytes.
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

/// Larger artifacts are not read.
const MOST_BYTES: u64 = 256 << 20;

/// The names under which commands, like the built-ins, write predictions.
const PREDICTIONS: [&str; 2] = ["predictions", "valid"];

impl<'a> Artifacts<'a> {
    /// `stages` are the names and records of the stages of a run.
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

    /// The outputs of a stage that are, or may be, predictions.
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

    /// The rows of a file of predictions, all of them valid.
    pub fn predictions(&self, place: usize, output: &str) -> Result<Vec<Prediction>, Unreadable> {
        let rows: Vec<Prediction> = self.json_lines(place, output)?;
        let is_valid = !rows.is_empty() && rows.iter().all(|row| row.check().is_ok());
        is_valid.then_some(rows).ok_or(Unreadable::OtherKind)
    }

    /// The name of a stage.
    pub fn stage(&self, place: usize) -> &str {
        &self.names[place]
    }

    /// Whether a stage is this built-in.
    pub fn is_made_by(&self, place: usize, builtin: &str) -> bool {
        let record = self.records[place].as_ref();
        record.is_some_and(|record| record.fields.action.builtin() == Some(builtin))
    }

    /// An output that is a file of JSON.
    pub fn json(&self, place: usize, output: &str) -> Result<Value, Unreadable> {
        let bytes = self.read(self.artifact(place, output).ok_or(Unreadable::Gone)?)?;
        serde_json::from_slice(&bytes).map_err(|_| Unreadable::OtherKind)
    }

    /// An output that is a file of JSON lines.
    pub fn json_lines<T: DeserializeOwned>(
        &self,
        place: usize,
        output: &str,
    ) -> Result<Vec<T>, Unreadable> {
        let bytes = self.read(self.artifact(place, output).ok_or(Unreadable::Gone)?)?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let rows: Result<Vec<T>, _> = lines.map(serde_json::from_slice).collect();
        rows.map_err(|_| Unreadable::OtherKind)
    }

    /// The output `scores` of a stage: figures and counts, by input.
    pub fn scores(&self, place: usize) -> Option<Result<Value, Unreadable>> {
        let artifact = self.artifact(place, "scores")?;
        let parsed = self.read(artifact).and_then(|bytes| {
            let value: Result<Value, _> = serde_json::from_slice(&bytes);
            value.ok().filter(Value::is_object).ok_or(Unreadable::OtherKind)
        });
        Some(parsed)
    }

    /// Metrics by step: those that the stage reported, else the lines of its output `metrics`.
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
            // An epoch stays among the metrics, as stages report it: it says what the rows count.
            let step = values.get("epoch").cloned().or_else(|| values.remove("step"))?.as_u64()?;
            let values = values.into_iter().filter_map(|(name, it)| Some((name, it.as_f64()?)));
            Some(MetricsRow { step, values: values.collect() })
        };
        let rows: Option<Vec<MetricsRow>> = lines.map(row).collect();
        rows.unwrap_or_default()
    }

    /// Finds the examples with these ids, to which predictions refer: in the nearest of the files
    /// from which the predictions were made that contains all of them.
    pub fn examples(
        &self,
        place: usize,
        output: &str,
        ids: &BTreeSet<&str>,
    ) -> Option<BTreeMap<String, Example>> {
        // The output `predictions` of `predict` belongs to its input `test`.
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

    /// The file of an input, in the store or at a path.
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

/// Reads examples; `None` unless the file has this content, holds examples, and contains all `ids`.
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
    // Token files are not JSON, which is cheaper to see than to hash them.
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

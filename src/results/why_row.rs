//! Traces one answer back, for `pipe why-row`: where the example comes from, in which part of the
//! split it is, which tokens the model saw, what each stage answers and with which threshold, and
//! which earlier results in the store answer differently.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use stages::data::example::Example;
use stages::data::prediction::Prediction;
use stages::data::target::Target;
use stages::data::token_file::TokenFile;
use stages::model::config::ModelConfig;
use stages::text::TextTokenizer;

use crate::pipeline::{Input, Pipeline, SET_MARK, Stage};
use crate::results::run_log::find;
use crate::sources::Sources;
use crate::store::Store;
use crate::store::key::Key;
use crate::store::record::Record;

/// Everything that is known about one example.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WhyRow {
    pub id: String,
    pub example: Option<TracedExample>,
    /// The artifact of `split` that contains it.
    pub part: Option<String>,
    pub tokens: Vec<TracedTokens>,
    /// The answers of the current stages of the pipeline.
    pub said: Vec<Answer>,
    /// The number of other results in the store that have an answer.
    pub others: usize,
    /// Those with another label.
    pub disagreeing: Vec<EarlierAnswer>,
}

/// The example as `ingest` wrote it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TracedExample {
    /// `ingest:test`.
    pub artifact: String,
    /// The source file, if it is on this disk.
    pub file: Option<PathBuf>,
    /// Counted from 1; 0 if it is not known.
    pub line: u64,
    pub label: Option<Target>,
    pub text: String,
    pub context: Vec<String>,
}

/// The tokens of the example that a model reads, or of one of its windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TracedTokens {
    pub artifact: String,
    pub ids: Vec<i32>,
    /// As in the vocabulary; empty without the tokenizer.
    pub texts: Vec<String>,
    /// `None` if the example has one window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowNumber>,
}

/// Which of an example's windows it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowNumber {
    /// Counted from 1.
    pub number: usize,
    pub of: usize,
}

/// What a stage answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    pub artifact: String,
    pub label: Target,
    pub gold: Option<Target>,
    pub probabilities: BTreeMap<String, f64>,
    /// The probability from which the last label is predicted, if that is not simply the likelier.
    pub threshold: Option<f64>,
}

/// What an earlier result answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EarlierAnswer {
    pub stage: String,
    pub key: Key,
    /// The newest run in the log that made or used the result.
    pub run: Option<String>,
    /// RFC 3339.
    pub when: String,
    pub label: Target,
    pub probability: Option<f64>,
}

/// Where to look for an example.
pub struct Evidence<'a> {
    pub pipeline: &'a Pipeline,
    pub store: &'a Store,
    pub sources: &'a Sources,
    /// The current record of each stage, by name.
    pub current: &'a BTreeMap<String, Record>,
}

/// Looks for an example in everything that the pipeline has made.
pub fn why_row(id: &str, evidence: &Evidence) -> WhyRow {
    let mut why = WhyRow { id: id.to_owned(), ..WhyRow::default() };
    let mut current_keys = Vec::new();
    for stage in &evidence.pipeline.stages {
        let Some(name) = stage.action.builtin() else { continue };
        let Some(record) = evidence.current.get(&stage.name) else { continue };
        match name {
            "ingest" => {
                why.example = why.example.take().or_else(|| example(id, stage, record, evidence));
            }
            "split" => why.part = why.part.take().or_else(|| part(id, stage, record, evidence)),
            "tokenize" => why.tokens.extend(tokens(id, stage, record, evidence)),
            builtin => {
                for output in stages::predictions_of(builtin) {
                    let Some(row) = predicted(id, record, output, evidence.store) else { continue };
                    why.said.push(Answer {
                        artifact: format!("{}:{output}", stage.name),
                        label: row.label,
                        gold: row.gold,
                        probabilities: row.probabilities,
                        threshold: threshold(stage, evidence),
                    });
                    current_keys.push(record.key);
                }
            }
        }
    }
    (why.others, why.disagreeing) = others(id, &current_keys, &why.said, evidence.store);
    why
}

fn example(id: &str, stage: &Stage, record: &Record, evidence: &Evidence) -> Option<TracedExample> {
    ["test", "train"].into_iter().find_map(|output| {
        let artifact = record.outputs.get(output)?;
        let row: Example = row(&evidence.store.object(artifact.content), id)?;
        let name = row.file.as_ref().map(|entry| format!("{output}{SET_MARK}{entry}"));
        let input = stage.inputs.get(name.as_deref().unwrap_or(output));
        let file = input.and_then(|input| evidence.sources.find(input).ok()?);
        Some(TracedExample {
            artifact: format!("{}:{output}", stage.name),
            file: file.map(|found| found.path),
            line: row.line,
            label: row.label,
            text: row.text,
            context: row.context,
        })
    })
}

fn part(id: &str, stage: &Stage, record: &Record, evidence: &Evidence) -> Option<String> {
    ["train", "valid"].into_iter().find_map(|output| {
        let artifact = record.outputs.get(output)?;
        let _: Example = row(&evidence.store.object(artifact.content), id)?;
        Some(format!("{}:{output}", stage.name))
    })
}

/// The windows of the example; empty if the stage has no tokens of it.
fn tokens(id: &str, stage: &Stage, record: &Record, evidence: &Evidence) -> Vec<TracedTokens> {
    let found = ["test", "valid", "train"].into_iter().find_map(|output| {
        let artifact = record.outputs.get(output)?;
        let file = TokenFile::open(&evidence.store.object(artifact.content)).ok()?;
        let row = (0..file.rows()).find(|row| file.id(*row) == id)?;
        let windows: Vec<Vec<i32>> =
            file.windows_of(row).map(|window| file.ids(window).to_vec()).collect();
        Some((output, windows))
    });
    let Some((output, windows)) = found else { return Vec::new() };
    let tokenizer = stage.inputs.get("model").and_then(|model| {
        let folder = evidence.sources.find(model).ok()??.path;
        TextTokenizer::open(&folder, ModelConfig::read(&folder).ok()?.family).ok()
    });
    let text = |id: &i32| tokenizer.as_ref()?.token_text(u32::try_from(*id).ok()?);
    let of = windows.len();
    let traced = |(number, ids): (usize, Vec<i32>)| TracedTokens {
        artifact: format!("{}:{output}", stage.name),
        texts: ids.iter().map(text).collect::<Option<Vec<String>>>().unwrap_or_default(),
        ids,
        window: (of > 1).then_some(WindowNumber { number, of }),
    };
    (1..).zip(windows).map(traced).collect()
}

/// The threshold that `predict` uses: its parameter, or the one in the model folder.
fn threshold(stage: &Stage, evidence: &Evidence) -> Option<f64> {
    let given = stage.params.get("threshold")?;
    if given.as_str() != Some("auto") {
        return given.as_f64();
    }
    let Input::Artifact { stage: maker, output } = stage.inputs.get("model")? else { return None };
    let record = evidence.current.get(maker)?;
    let tree = evidence.store.tree(record.outputs.get(output)?.content)?;
    let config = tree.files.get("config.json")?;
    let object = evidence.store.object(config.content());
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(object).ok()?).ok()?;
    config.get("decision_threshold")?.as_f64()
}

/// Counts the other results that have an answer, and lists those whose label is not the current
/// one of the stage of that name.
fn others(
    id: &str,
    current: &[Key],
    said: &[Answer],
    store: &Store,
) -> (usize, Vec<EarlierAnswer>) {
    let (mut count, mut disagreeing) = (0, Vec::new());
    let runs = runs_by_key(store);
    for record in store.records() {
        let Some(name) = record.fields.action.builtin() else { continue };
        if current.contains(&record.key) {
            continue;
        }
        for output in stages::predictions_of(name) {
            let Some(row) = predicted(id, &record, output, store) else { continue };
            count += 1;
            let artifact = format!("{}:{output}", record.stage);
            let now = said.iter().find(|said| said.artifact == artifact).or(said.first());
            if now.is_some_and(|now| now.label == row.label) {
                continue;
            }
            disagreeing.push(EarlierAnswer {
                stage: record.stage.clone(),
                key: record.key,
                run: runs.get(&record.key).cloned(),
                when: record.when.clone(),
                probability: row.label.label().and_then(|it| row.probabilities.get(it)).copied(),
                label: row.label,
            });
        }
    }
    disagreeing.sort_by(|a, b| b.when.cmp(&a.when));
    (count, disagreeing)
}

/// The newest run in the log that made or used each key.
fn runs_by_key(store: &Store) -> BTreeMap<Key, String> {
    let mut runs = BTreeMap::new();
    for id in find::ids(store).unwrap_or_default() {
        let Ok(run) = find::read(store, &id) else { continue };
        let keys = run.stages.iter().filter_map(|stage| stage.key);
        runs.extend(keys.map(|key| (key, id.clone())));
    }
    runs
}

fn predicted(id: &str, record: &Record, output: &str, store: &Store) -> Option<Prediction> {
    row(&store.object(record.outputs.get(output)?.content), id)
}

/// Finds the row with that id in a JSONL file.
fn row<T: DeserializeOwned>(path: &Path, id: &str) -> Option<T> {
    #[derive(serde::Deserialize)]
    struct Id {
        id: String,
    }
    // Most lines do not contain the id, and are skipped without parsing.
    let quoted = serde_json::to_string(id).ok()?;
    let lines = BufReader::new(File::open(path).ok()?).lines();
    lines.map_while(Result::ok).find_map(|line| {
        let is_it = line.contains(&quoted)
            && serde_json::from_str::<Id>(&line).is_ok_and(|found| found.id == id);
        if is_it { serde_json::from_str(&line).ok() } else { None }
    })
}

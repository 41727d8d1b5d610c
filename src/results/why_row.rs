//! One answer traced back, for `pipe why-row`: where the example comes from, in which part it is,
//! which tokens the model saw, what each stage says of it and with which threshold, and which
//! earlier results in the store say something else.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use stages::data::example::Example;
use stages::data::prediction::Prediction;
use stages::data::token_file::TokenFile;
use stages::model::config::ModelConfig;
use stages::text::TextTokenizer;

use crate::pipeline::{Input, Pipeline, Stage};
use crate::plan::sources::Sources;
use crate::results::run_log;
use crate::store::Store;
use crate::store::key::Key;
use crate::store::record::Record;

/// All that is known of an example.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WhyRow {
    pub id: String,
    pub example: Option<Found>,
    /// The artifact of `split` that it is in.
    pub part: Option<String>,
    pub tokens: Vec<Tokens>,
    /// What the pipeline's stages say as they stand.
    pub said: Vec<Said>,
    /// How many other results in the store say something of it.
    pub others: usize,
    /// Those of them that say another label.
    pub disagreeing: Vec<Other>,
}

/// The example itself, as `ingest` passed it on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// `ingest:test`.
    pub artifact: String,
    /// The source, where it is on this disk.
    pub file: Option<PathBuf>,
    /// Counted from 1; 0 where it is not known.
    pub line: u64,
    pub label: Option<String>,
    pub text: String,
    pub context: Vec<String>,
}

/// What the model reads of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tokens {
    pub artifact: String,
    pub ids: Vec<i32>,
    /// As in the vocabulary; empty if the tokenizer is not at hand.
    pub texts: Vec<String>,
}

/// What a stage says of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    pub artifact: String,
    pub label: String,
    pub gold: Option<String>,
    pub probabilities: BTreeMap<String, f64>,
    /// From which probability on the last label is predicted, if not simply the likelier.
    pub threshold: Option<f64>,
}

/// What an earlier result says of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Other {
    pub stage: String,
    pub key: Key,
    /// The newest run of the log that has it.
    pub run: Option<String>,
    /// RFC 3339.
    pub when: String,
    pub label: String,
    pub probability: Option<f64>,
}

/// Where to look.
pub struct Ground<'a> {
    pub pipeline: &'a Pipeline,
    pub store: &'a Store,
    pub sources: &'a Sources,
    /// The records that stand for the stages now, by name.
    pub standing: &'a BTreeMap<String, Record>,
}

/// Looks for an example in all that the pipeline has made.
pub fn why_row(id: &str, ground: &Ground) -> WhyRow {
    let mut why = WhyRow { id: id.to_owned(), ..WhyRow::default() };
    let mut current = Vec::new();
    for stage in &ground.pipeline.stages {
        let Some(name) = stage.action.builtin() else { continue };
        let Some(record) = ground.standing.get(&stage.name) else { continue };
        match name {
            "ingest" => {
                why.example = why.example.take().or_else(|| example(id, stage, record, ground));
            }
            "split" => why.part = why.part.take().or_else(|| part(id, stage, record, ground)),
            "tokenize" => why.tokens.extend(tokens(id, stage, record, ground)),
            builtin => {
                for output in stages::predictions_of(builtin) {
                    let Some(row) = predicted(id, record, output, ground.store) else { continue };
                    why.said.push(Said {
                        artifact: format!("{}:{output}", stage.name),
                        label: row.label,
                        gold: row.gold,
                        probabilities: row.probabilities,
                        threshold: threshold(stage, ground),
                    });
                    current.push(record.key);
                }
            }
        }
    }
    (why.others, why.disagreeing) = others(id, &current, &why.said, ground.store);
    why
}

fn example(id: &str, stage: &Stage, record: &Record, ground: &Ground) -> Option<Found> {
    ["test", "train"].into_iter().find_map(|output| {
        let artifact = record.outputs.get(output)?;
        let row: Example = row(&ground.store.object(artifact.content), id)?;
        let file = stage.inputs.get(output).and_then(|input| ground.sources.find(input).ok()?);
        Some(Found {
            artifact: format!("{}:{output}", stage.name),
            file: file.map(|found| found.path),
            line: row.line,
            label: row.label,
            text: row.text,
            context: row.context,
        })
    })
}

fn part(id: &str, stage: &Stage, record: &Record, ground: &Ground) -> Option<String> {
    ["train", "valid"].into_iter().find_map(|output| {
        let artifact = record.outputs.get(output)?;
        let _: Example = row(&ground.store.object(artifact.content), id)?;
        Some(format!("{}:{output}", stage.name))
    })
}

fn tokens(id: &str, stage: &Stage, record: &Record, ground: &Ground) -> Option<Tokens> {
    let (output, ids) = ["test", "valid", "train"].into_iter().find_map(|output| {
        let artifact = record.outputs.get(output)?;
        let file = TokenFile::open(&ground.store.object(artifact.content)).ok()?;
        let row = (0..file.rows()).find(|row| file.id(*row) == id)?;
        Some((output, file.ids(row).to_vec()))
    })?;
    let texts = stage.inputs.get("model").and_then(|model| {
        let folder = ground.sources.find(model).ok()??.path;
        let tokenizer =
            TextTokenizer::open(&folder, ModelConfig::read(&folder).ok()?.family).ok()?;
        let text = |id: &i32| tokenizer.token_text(u32::try_from(*id).ok()?);
        ids.iter().map(text).collect::<Option<Vec<String>>>()
    });
    Some(Tokens {
        artifact: format!("{}:{output}", stage.name),
        ids,
        texts: texts.unwrap_or_default(),
    })
}

/// What `predict` goes by: its parameter, or what the model's folder carries.
fn threshold(stage: &Stage, ground: &Ground) -> Option<f64> {
    let given = stage.params.get("threshold")?;
    if given.as_str() != Some("auto") {
        return given.as_f64();
    }
    let Input::Artifact { stage: maker, output } = stage.inputs.get("model")? else { return None };
    let record = ground.standing.get(maker)?;
    let tree = ground.store.tree(record.outputs.get(output)?.content)?;
    let config = tree.0.get("config.json")?;
    let object = ground.store.object(crate::files::digest::Content::file(config.digest));
    let config: serde_json::Value = serde_json::from_slice(&std::fs::read(object).ok()?).ok()?;
    config.get("decision_threshold")?.as_f64()
}

/// How many other results say something of the example, and those that say another label than the
/// stage of that name says now.
fn others(id: &str, current: &[Key], said: &[Said], store: &Store) -> (usize, Vec<Other>) {
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
            disagreeing.push(Other {
                stage: record.stage.clone(),
                key: record.key,
                run: runs.get(&record.key).cloned(),
                when: record.when.clone(),
                probability: row.probabilities.get(&row.label).copied(),
                label: row.label,
            });
        }
    }
    disagreeing.sort_by(|a, b| b.when.cmp(&a.when));
    (count, disagreeing)
}

/// The newest run of the log in which each key was made or used.
fn runs_by_key(store: &Store) -> BTreeMap<Key, String> {
    let mut runs = BTreeMap::new();
    for id in run_log::ids(store).unwrap_or_default() {
        let Ok(run) = run_log::read(store, &id) else { continue };
        let keys = run.stages.iter().filter_map(|stage| stage.key);
        runs.extend(keys.map(|key| (key, id.clone())));
    }
    runs
}

fn predicted(id: &str, record: &Record, output: &str, store: &Store) -> Option<Prediction> {
    row(&store.object(record.outputs.get(output)?.content), id)
}

/// The row of that id in a file of JSON lines.
fn row<T: DeserializeOwned>(path: &Path, id: &str) -> Option<T> {
    #[derive(serde::Deserialize)]
    struct Id {
        id: String,
    }
    // Most lines do not even hold the id, and are passed over unparsed.
    let quoted = serde_json::to_string(id).ok()?;
    let lines = BufReader::new(File::open(path).ok()?).lines();
    lines.map_while(Result::ok).find_map(|line| {
        let is_it = line.contains(&quoted)
            && serde_json::from_str::<Id>(&line).is_ok_and(|found| found.id == id);
        if is_it { serde_json::from_str(&line).ok() } else { None }
    })
}

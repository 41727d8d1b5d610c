//! Inputs that are sets: `[a:x, b:y]`, all variants of a stage, `finetune@*:model`, or the files that a
//! pattern matches, `data/part-*.jsonl`.
//!
//! In [`Stage::inputs`](super::model::Stage::inputs) each entry of a set is a separate input named
//! `models/seed=1`, so that it is hashed, watched, explained and repaired like any other. A stage
//! finds the set as a folder `models` with an entry `seed=1`. Only entries have `/` in their name.

use std::collections::BTreeMap;

use stages::{Count, InputSpec};

use super::model::{Input, SET_MARK};
use super::problem::Problems;
use super::reader::InputReader;
use super::yaml::{YamlNode, YamlValue};
use crate::text::variants::{is_pattern, label, matches};

/// The value of an input: a single one or a set.
pub(super) enum Wired {
    One(Input),
    Set(BTreeMap<String, Input>),
}

impl Wired {
    pub(super) fn inputs(&self) -> Vec<&Input> {
        match self {
            Wired::One(input) => vec![input],
            Wired::Set(entries) => entries.values().collect(),
        }
    }

    pub(super) fn insert_into(self, inputs: &mut BTreeMap<String, Input>, name: &str) {
        match self {
            Wired::One(input) => {
                inputs.insert(name.to_owned(), input);
            }
            Wired::Set(entries) => inputs.extend(
                entries
                    .into_iter()
                    .map(|(entry, input)| (format!("{name}{SET_MARK}{entry}"), input)),
            ),
        }
    }
}

/// Reads an input. A list or a pattern is a set. Mistakes are reported.
pub(super) fn read(
    reader: &InputReader,
    node: &YamlNode,
    problems: &mut Problems,
) -> Option<Wired> {
    let YamlValue::List(items) = &node.content else {
        if let Some((stages, output)) = pattern(node) {
            let found = variants(reader, stages, output, node, problems)?;
            let entry = |name: String| label(&name).unwrap_or(&name).to_owned();
            return Some(Wired::Set(
                found.into_iter().map(|(name, it)| (entry(name), it)).collect(),
            ));
        }
        if !reader.is_pattern_of_files(node) {
            return reader.read(node, problems).map(Wired::One);
        }
        return set_of(reader, std::slice::from_ref(node), problems);
    };
    if items.is_empty() {
        let message = format!("{} is an empty list", reader.what());
        problems.with(node, message).stage(reader.stage);
        return None;
    }
    set_of(reader, items, problems)
}

/// The set of some items, each a reference or a pattern.
fn set_of(reader: &InputReader, items: &[YamlNode], problems: &mut Problems) -> Option<Wired> {
    let mut entries: BTreeMap<String, Input> = BTreeMap::new();
    let mut complete = true;
    let named = |input: Input| (entry_name(&input), input);
    for item in items {
        let found = match pattern(item) {
            Some((stages, output)) => variants(reader, stages, output, item, problems),
            None if reader.is_pattern_of_files(item) => {
                let found = reader.files(item, problems);
                found.map(|found| found.into_iter().map(named).collect())
            }
            None => reader.read(item, problems).map(|input| vec![named(input)]),
        };
        complete &= found.is_some();
        for (name, input) in found.unwrap_or_default() {
            let text = input.to_string();
            if let Some(other) = entries.insert(name.clone(), input) {
                let message =
                    format!("{}: `{other}` and `{text}` would both be `{name}`", reader.what());
                let problem = problems.with(item, message).stage(reader.stage);
                problem.help(
                    "an entry is named after its stage or file; the names must differ".to_owned(),
                );
                complete = false;
            }
        }
    }
    complete.then_some(Wired::Set(entries))
}

/// Makes a single input a set of one where the built-in takes a set, and refuses a set where it
/// takes a single one.
pub(super) fn fit(
    reader: &InputReader,
    wired: Wired,
    spec: Option<&InputSpec>,
    node: &YamlNode,
    problems: &mut Problems,
) -> Option<Wired> {
    match (wired, spec) {
        (Wired::One(input), Some(spec)) if spec.count == Count::Set => {
            Some(Wired::Set(BTreeMap::from([(entry_name(&input), input)])))
        }
        (Wired::Set(entries), Some(spec)) if spec.count == Count::One => {
            let count = entries.len();
            let message = format!("{} takes a single one, this is a set of {count}", reader.what());
            let problem = problems.with(node, message).stage(reader.stage);
            if let Some(first) = entries.values().next() {
                problem.help(format!("write one of them, such as `{first}`"));
            }
            None
        }
        (wired, _) => Some(wired),
    }
}

/// Splits `finetune@*:model` into its two parts.
fn pattern(node: &YamlNode) -> Option<(&str, &str)> {
    let (stages, output) = node.as_text()?.split_once(':')?;
    is_pattern(stages).then_some((stages, output))
}

/// The outputs of the variants that a pattern matches, with the names of the variants.
fn variants(
    reader: &InputReader,
    pattern: &str,
    output: &str,
    node: &YamlNode,
    problems: &mut Problems,
) -> Option<Vec<(String, Input)>> {
    let stages = || reader.outputs.iter().filter(|(name, _)| matches(pattern, name));
    if stages().next().is_none() {
        let families = reader.outputs.keys().filter(|name| label(name).is_some());
        let mut families: Vec<&str> =
            families.map(|name| crate::text::variants::family(name)).collect();
        families.dedup();
        let known: Vec<String> = families.iter().map(|family| format!("{family}@*")).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let message = format!("{}: `{pattern}` matches no variant of a stage", reader.what());
        let problem = problems.with(node, message).stage(reader.stage);
        problem.nearest_or_all(pattern, &known);
        if known.is_empty() {
            problem.help("variants come from `foreach:` or `matrix:` of a stage".to_owned());
        }
        return None;
    }
    stages()
        .map(|(name, known)| {
            let input = reader.artifact(name, output, known, node, problems)?;
            Some((name.clone(), input))
        })
        .collect()
}

/// The name of an entry: its stage, its file, or the name of the model.
fn entry_name(input: &Input) -> String {
    let last = |text: &str| text.rsplit('/').find(|part| !part.is_empty()).map(str::to_owned);
    let name = match input {
        Input::Artifact { stage, .. } => Some(stage.clone()),
        Input::Path(path) => path.file_name().and_then(|name| name.to_str()).map(str::to_owned),
        Input::Url { url, .. } => last(url.split(['?', '#']).next().unwrap_or_default()),
        Input::Hub { repository, .. } => last(repository),
        Input::HubData { path, .. } => last(path),
    };
    name.unwrap_or_else(|| "input".to_owned())
}

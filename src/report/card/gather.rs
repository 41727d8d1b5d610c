//! Gathers what a card says about a model from the records of the stages around it.

use std::collections::BTreeSet;

use stages::Params;

use super::facts::{Made, Scored, Setting, Source};
use crate::files::digest::Content;
use crate::pipeline::{Input, Pipeline};
use crate::report::artifacts::Artifacts;
use crate::report::evaluations::evaluations;
use crate::store::key::ActionField;
use crate::store::record::Record;

/// The input of a training that is the model to start from.
const MODEL: &str = "model";

/// Where a stage has several of these inputs, each becomes the output of its name.
const PARTS: [&str; 3] = ["train", "valid", "test"];

/// The parameters of a training that are named even if they have their defaults.
const RECIPE: [&str; 4] = ["epochs", "batch_size", "learning_rate", "seed"];

/// How the stage at `place` made its model: its settings, and those of the stages before it.
pub fn made(artifacts: &Artifacts, pipeline: &Pipeline, place: usize) -> Option<Made> {
    let record = artifacts.records.get(place)?.as_ref()?;
    let mut found = Found::default();
    found.walk(artifacts, pipeline, (place, MODEL));
    let base = record.fields.inputs.get(MODEL);
    Some(Made {
        stage: match &record.fields.action {
            ActionField::Builtin { name, version } => format!("{name} version {version}"),
            ActionField::Command { .. } => format!("the command of stage {}", record.stage),
        },
        pipe: record.pipe.clone(),
        day: record.when.chars().take(10).collect(),
        seconds: record.seconds,
        device: record.device.clone(),
        base: base.map(|content| source(artifacts, pipeline, place, MODEL, *content)),
        data: found.data,
        settings: found.settings,
    })
}

/// The evaluations of the predictions that were made with this model, scored ones first.
pub fn scored(artifacts: &Artifacts, pipeline: &Pipeline, model: Content) -> Vec<Scored> {
    let reading = |content: Content| {
        let reads = move |record: &Record| record.fields.inputs.values().any(|it| *it == content);
        artifacts.records.iter().enumerate().filter_map(move |(place, record)| {
            record.as_ref().filter(|record| reads(record)).map(|_| place)
        })
    };
    let mut places = BTreeSet::new();
    for place in reading(model).filter(|place| artifacts.is_made_by(*place, "predict")) {
        places.insert(place);
        for output in artifacts.predictions_of(place) {
            places.extend(artifacts.content(place, &output).into_iter().flat_map(reading));
        }
    }
    let places: Vec<usize> = places.into_iter().collect();
    let (found, _) = evaluations(artifacts, &places);
    // A stage that scores may have read the predictions of other models, too.
    let made_by = |name: &str| {
        places.iter().filter(|place| artifacts.is_made_by(**place, "predict")).find_map(|place| {
            let outputs = artifacts.predictions_of(*place).into_iter();
            outputs.map(|it| (*place, it)).find(|(_, it)| artifacts.name(*place, it) == name)
        })
    };
    let own = found.into_iter().filter_map(|evaluation| {
        let (place, output) = made_by(&evaluation.artifact)?;
        let mut before = Found::default();
        // The output `predictions` of `predict` belongs to its input `test`.
        let input = if output == "predictions" { "test" } else { &output };
        before.walk(artifacts, pipeline, (place, input));
        Some(Scored { evaluation, data: before.data })
    });
    own.collect()
}

/// What lies before a model.
#[derive(Default)]
struct Found {
    data: Vec<Source>,
    settings: Vec<Setting>,
    seen: BTreeSet<usize>,
}

impl Found {
    /// Adds the stage that made `output` after everything that it reads for it, so that settings stand in
    /// the order of the work.
    fn walk(&mut self, artifacts: &Artifacts, pipeline: &Pipeline, (place, output): (usize, &str)) {
        let Some(record) = &artifacts.records[place] else { return };
        if !self.seen.insert(place) {
            return;
        }
        for (input, content) in &record.fields.inputs {
            let input = input.as_str();
            let is_other_part =
                [input, output].iter().all(|it| PARTS.contains(it)) && input != output;
            // Models and tokenizers are not data.
            if input == MODEL || is_other_part {
                continue;
            }
            match artifacts.makers(*content).first() {
                Some((maker, output)) => self.walk(artifacts, pipeline, (*maker, output)),
                None => self.add(source(artifacts, pipeline, place, input, *content)),
            }
        }
        self.settings.extend(settings(artifacts.stage(place), record));
    }

    fn add(&mut self, source: Source) {
        if !self.data.iter().any(|it| it.digest == source.digest) {
            self.data.push(source);
        }
    }
}

fn source(
    artifacts: &Artifacts,
    pipeline: &Pipeline,
    place: usize,
    input: &str,
    content: Content,
) -> Source {
    let declared = pipeline.stage(artifacts.stage(place)).and_then(|it| it.inputs.get(input));
    // The current pipeline may read another stage here.
    let origin = declared.filter(|it| !matches!(it, Input::Artifact { .. })).cloned();
    Source { origin, digest: format!("blake3:{}", content.digest) }
}

/// The parameters of a built-in that are not as they are by themselves, and the recipe.
fn settings(stage: &str, record: &Record) -> Vec<Setting> {
    let builtin = record.fields.action.builtin();
    let Some(known) = builtin.and_then(stages::find) else { return Vec::new() };
    let Params(values) = Params::from_key(known.params(), record.fields.params.clone());
    let mut found = Vec::new();
    for spec in known.params() {
        let Some(value) = values.get(spec.name) else { continue };
        let is_default = spec.default.value().as_ref() == Some(value);
        if !is_default || (known.name() == "finetune" && RECIPE.contains(&spec.name)) {
            found.push(Setting {
                key: format!("{stage}.{}", spec.name),
                builtin: known.name().to_owned(),
                value: value.clone(),
                is_default,
            });
        }
    }
    found
}

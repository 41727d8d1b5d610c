//! Gathers what a card says about a model from the records of the stages around it.

use std::collections::BTreeSet;

use stages::Params;
use stages::model::weight_files::has_weights;

use super::facts::{Made, Scored, Setting, Source, Start};
use crate::files::digest::Content;
use crate::pipeline::{Input, Pipeline};
use crate::report::artifacts::Artifacts;
use crate::report::evaluations::evaluations;
use crate::sources::Sources;
use crate::store::key::ActionField;
use crate::store::record::Record;

/// The input of a training that is the model to start from.
const MODEL: &str = "model";

/// The word of `init` for random weights.
const RANDOM: &str = "random";
/// The one for random weights only if the model has none.
const AUTO: &str = "auto";

/// Where a stage has several of these inputs, each becomes the output of its name.
const PARTS: [&str; 3] = ["train", "valid", "test"];

/// The parameters of a training that are named even if they have their defaults.
const RECIPE: [&str; 4] = ["epochs", "batch_size", "learning_rate", "seed"];

/// What the records around a model say, the pipeline of now, and the sources that it names.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub artifacts: &'a Artifacts<'a>,
    pub pipeline: &'a Pipeline,
    pub sources: &'a Sources,
}

/// How the stage at `place` made its model: its settings, and those of the stages before it.
pub fn made(known: Known, place: usize) -> Option<Made> {
    let record = known.artifacts.records.get(place)?.as_ref()?;
    let mut own = Found::default();
    own.walk_own(known, place);
    let mut before = Found { listed: own.listed.clone(), ..Found::default() };
    let start = before.start(known, place);
    let mut settings = before.settings;
    settings.iter_mut().for_each(|it| it.is_earlier = true);
    settings.append(&mut own.settings);
    let mut data = before.data;
    own.data.into_iter().for_each(|source| add(source, &mut data));
    Some(Made {
        stage: match &record.fields.action {
            ActionField::Builtin { name, version } => format!("{name} version {version}"),
            ActionField::Command { .. } => format!("the command of stage {}", record.stage),
        },
        pipe: record.pipe.clone(),
        day: record.when.chars().take(10).collect(),
        seconds: record.seconds,
        device: record.device.clone(),
        start,
        data,
        settings,
    })
}

/// The evaluations of the predictions that were made with this model, scored ones first.
pub fn scored(known: Known, model: Content) -> Vec<Scored> {
    let artifacts = known.artifacts;
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
        before.walk(known, (place, input));
        Some(Scored { evaluation, data: before.data })
    });
    own.collect()
}

/// What lies before a model.
#[derive(Default)]
struct Found {
    data: Vec<Source>,
    settings: Vec<Setting>,
    /// The outputs of stages that were walked to.
    walked: BTreeSet<(usize, String)>,
    /// The stages whose settings are there.
    listed: BTreeSet<usize>,
    /// The stages whose start was looked for.
    started: BTreeSet<usize>,
}

impl Found {
    /// Adds the stage that made `output` after everything that it reads for it, so that settings stand in
    /// the order of the work.
    fn walk(&mut self, known: Known, (place, output): (usize, &str)) {
        let Some(record) = &known.artifacts.records[place] else { return };
        if !self.walked.insert((place, output.to_owned())) {
            return;
        }
        for (input, content) in &record.fields.inputs {
            // A set of files is an input for each of them, `train/a.jsonl`.
            let part = input.split('/').next().unwrap_or(input);
            let is_other_part =
                [part, output].iter().all(|it| PARTS.contains(it)) && part != output;
            // Models and tokenizers are not data.
            if part == MODEL || is_other_part {
                continue;
            }
            match known.artifacts.makers(*content).first() {
                Some((maker, output)) => self.walk(known, (*maker, output)),
                None => add(source(known, place, input, *content), &mut self.data),
            }
        }
        if self.listed.insert(place) {
            self.settings.extend(settings(known.artifacts.stage(place), record));
        }
    }

    /// Walks to the stage at `place`, and if it is a command that may only pass a model on, to the one that made that.
    fn walk_own(&mut self, known: Known, place: usize) {
        let mut place = Some(place);
        while let Some(at) = place {
            self.started.insert(at);
            self.walk(known, (at, MODEL));
            let record = known.artifacts.records[at].as_ref();
            let model =
                record.filter(|it| init(it).is_none()).and_then(|it| it.fields.inputs.get(MODEL));
            let makers = model.map_or(&[][..], |model| known.artifacts.makers(*model));
            place = makers.iter().map(|(it, _)| *it).find(|it| !self.started.contains(it));
        }
    }

    /// What the stage at `place` trained; `None` if nobody knows. Adds the stages that trained it before, and
    /// their data.
    fn start(&mut self, known: Known, place: usize) -> Option<Start> {
        let record = known.artifacts.records[place].as_ref()?;
        self.started.insert(place);
        let init = init(record);
        let Some(model) = record.fields.inputs.get(MODEL).copied() else {
            return init.map(|_| Start::Random(None));
        };
        let source = || source(known, place, MODEL, model);
        if init.as_deref() == Some(RANDOM) {
            return Some(Start::Random(Some(source())));
        }
        // A stage may pass a model on, and is then among those that made it.
        let makers = known.artifacts.makers(model);
        let maker = makers.iter().find(|(it, _)| !self.started.contains(it));
        if let Some((maker, output)) = maker {
            let before = self.start(known, *maker);
            self.walk(known, (*maker, output));
            return before;
        }
        let source = source();
        match init.as_deref() {
            Some(AUTO) => match has_weights_now(known, &source)? {
                true => Some(Start::Model(source)),
                false => Some(Start::Random(Some(source))),
            },
            _ => Some(Start::Model(source)),
        }
    }
}

fn add(source: Source, data: &mut Vec<Source>) {
    if !data.iter().any(|it| it.digest == source.digest) {
        data.push(source);
    }
}

/// The word of `init`, of a built-in that trains.
fn init(record: &Record) -> Option<String> {
    let builtin = stages::find(record.fields.action.builtin()?)?;
    let Params(mut values) = Params::from_key(builtin.params(), record.fields.params.clone());
    values.remove("init")?.as_str().map(str::to_owned)
}

/// Whether a model has weights; `None` if it is no longer there.
fn has_weights_now(known: Known, source: &Source) -> Option<bool> {
    let found = known.sources.find(source.origin.as_ref()?).ok()??;
    Some(has_weights(&found.path))
}

fn source(known: Known, place: usize, input: &str, content: Content) -> Source {
    let stage = known.pipeline.stage(known.artifacts.stage(place));
    let declared = stage.and_then(|it| it.inputs.get(input));
    // The current pipeline may name another file here, or the file may have changed.
    let is_same = |it: &&Input| {
        known.sources.find(it).is_ok_and(|it| it.is_some_and(|it| it.hashed.content == content))
    };
    let origin = declared.filter(is_same).cloned();
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
                is_earlier: false,
            });
        }
    }
    found
}

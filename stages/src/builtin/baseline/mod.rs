//! `baseline`: what a model without any pretraining makes of the same examples, in seconds. It
//! stands beside `tokenize`, `finetune` and `predict` and writes what `predict` writes, so that a
//! score has something to be compared with.
//!
//! Two kinds: TF-IDF features of word and character n-grams with logistic regression
//! ([`tfidf`], [`logistic`]), as scikit-learn has them; and averaged embeddings of hashed n-grams
//! with a linear layer, as fastText has them ([`embedding`]).

pub mod embedding;
mod examples;
pub mod lbfgs;
pub mod logistic;
mod ngram;
mod params;
mod report;
mod sparse;
pub mod tfidf;

use std::path::Path;

pub use self::sparse::Matrix;

use self::examples::{Examples, read};
use self::report::{Quality, Report};
use crate::data::prediction::{ANSWER, PREDICTIONS, Prediction, PredictionWriter, VALID};
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::write_json;
use crate::stage::params::{ParamSpec, Params};
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

/// The stage.
pub struct Baseline;

const INPUTS: &[InputSpec] = &[
    InputSpec::required(
        "train",
        Kind::File,
        "labelled examples to train on, as `ingest` or `split` writes them",
    ),
    InputSpec::optional("valid", Kind::File, "examples to predict and to report on, for `score`"),
    InputSpec::optional("test", Kind::File, "examples to predict; `answer` is about these"),
];

const OUTPUTS: &[OutputSpec] = &[
    PREDICTIONS,
    ANSWER,
    VALID,
    OutputSpec::new(
        "metrics",
        "metrics.json",
        Kind::File,
        "accuracy, the number of features, how the training went, and of kind `ngram` the \
              features that speak most for each label",
    ),
];

impl Stage for Baseline {
    fn name(&self) -> &'static str {
        "baseline"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "a classifier of word and character n-grams, trained in seconds"
    }

    fn inputs(&self) -> &'static [InputSpec] {
        INPUTS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        OUTPUTS
    }

    fn params(&self) -> &'static [ParamSpec] {
        params::PARAMS
    }

    fn headline(&self) -> &'static [&'static str] {
        &["features", "train_accuracy", "valid_accuracy", "valid_f1"]
    }

    fn check(&self, params: &Params, _: &[&str]) -> Result<(), CheckError> {
        params::check(params)
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let turns = context.params().optional_int("context");
        let turns = turns.map(|turns| usize::try_from(turns).unwrap_or(usize::MAX));
        let train = read(context.input("train")?, turns)?;
        let classes = train.classes()?;
        let wired = |input| context.optional_input(input).map(|path| read(path, turns)).transpose();
        let (valid, test) = (wired("valid")?, wired("test")?);

        let model = match context.params().text("kind") {
            "embedding" => embedding::train(context, &train, &classes),
            _ => ngram::train(context, &train, &classes),
        };
        let mut report = model.report;
        let predict = |examples| rows(examples, &classes.names, &(model.predict)(examples));
        report.train = Some(Quality::of(&predict(&train), &classes));
        if let Some(valid) = &valid {
            let rows = predict(valid);
            report.valid = Some(Quality::of(&rows, &classes));
            write(&rows, context.output("valid")?, None)?;
        }
        if let Some(test) = &test {
            write(&predict(test), context.output("predictions")?, Some(context.output("answer")?))?;
        }
        write_json(context.output("metrics")?, &report)?;
        context.emit(Event::Metrics { step: None, values: report.metrics() });
        Ok(())
    }
}

fn write(rows: &[Prediction], path: &Path, answer: Option<&Path>) -> Result<(), StageError> {
    let mut writer = PredictionWriter::create(path, answer)?;
    rows.iter().try_for_each(|row| writer.write(row))?;
    writer.finish()
}

/// Probabilities of the classes, for each example.
type Predict = Box<dyn Fn(&Examples) -> Vec<Vec<f64>>>;

/// A trained classifier.
struct Model {
    predict: Predict,
    report: Report,
}

/// Of equal probabilities the first label in alphabetical order wins.
fn rows(examples: &Examples, names: &[String], probabilities: &[Vec<f64>]) -> Vec<Prediction> {
    let row = |(example, values): (&examples::Text, &Vec<f64>)| {
        let best =
            (1..values.len()).fold(0, |best, it| if values[it] > values[best] { it } else { best });
        Prediction {
            id: example.id.clone(),
            label: names[best].clone(),
            probabilities: names.iter().cloned().zip(values.iter().copied()).collect(),
            gold: example.label.clone(),
        }
    };
    examples.texts.iter().zip(probabilities).map(row).collect()
}

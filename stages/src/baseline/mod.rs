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

pub use self::sparse::Matrix;

use self::examples::{Examples, read};
use self::report::{Quality, Report};
use crate::error::StageError;
use crate::event::Event;
use crate::output::write_json;
use crate::params::{ParamSpec, Params};
use crate::prediction::{Prediction, PredictionWriter};
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

/// The stage.
pub struct Baseline;

const fn examples(name: &'static str, required: bool, doc: &'static str) -> InputSpec {
    InputSpec { name, required, kind: Kind::File, many: false, doc }
}

const INPUTS: &[InputSpec] = &[
    examples("train", true, "labelled examples to train on, as `ingest` or `split` writes them"),
    examples("valid", false, "examples to predict and to report on, for `score`"),
    examples("test", false, "examples to predict; `answer` is about these"),
];

const OUTPUTS: &[OutputSpec] = &[
    OutputSpec {
        name: "predictions",
        file: "predictions.jsonl",
        kind: Kind::File,
        given: Some("test"),
        doc: "label and probabilities of each example of `test`, in its order",
    },
    OutputSpec {
        name: "answer",
        file: "answer.txt",
        kind: Kind::File,
        given: Some("test"),
        doc: "a line `id,LABEL` for each example of `test`, in its order",
    },
    OutputSpec {
        name: "valid",
        file: "valid.jsonl",
        kind: Kind::File,
        given: Some("valid"),
        doc: "label and probabilities of each example of `valid`",
    },
    OutputSpec {
        name: "metrics",
        file: "metrics.json",
        kind: Kind::File,
        given: None,
        doc: "accuracy, the number of features, how the training went, and of kind `ngram` the \
              features that speak most for each label",
    },
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
        let predicted: Vec<(&str, Examples)> = [("valid", "valid"), ("test", "predictions")]
            .into_iter()
            .filter_map(|(input, output)| Some((output, context.optional_input(input)?)))
            .map(|(output, path)| Ok((output, read(path, turns)?)))
            .collect::<Result<_, StageError>>()?;

        let model = match context.params().text("kind") {
            "embedding" => embedding::train(context, &train, &classes),
            _ => ngram::train(context, &train, &classes),
        };
        let mut report = model.report;
        let probabilities = (model.predict)(&train);
        report.train = Some(Quality::of(&rows(&train, &classes.names, &probabilities), &classes));
        for (output, examples) in &predicted {
            let rows = rows(examples, &classes.names, &(model.predict)(examples));
            if *output == "valid" {
                report.valid = Some(Quality::of(&rows, &classes));
            }
            let answer =
                (*output == "predictions").then(|| context.output("answer")).transpose()?;
            let output = if *output == "valid" { "valid" } else { "predictions" };
            let mut writer = PredictionWriter::create(context.output(output)?, answer)?;
            rows.iter().try_for_each(|row| writer.write(row))?;
            writer.finish()?;
        }
        write_json(context.output("metrics")?, &report)?;
        context.emit(Event::Metrics { step: None, values: report.metrics() });
        Ok(())
    }
}

/// A trained classifier.
struct Model {
    /// Probabilities of the classes, for each example.
    predict: Box<dyn Fn(&Examples) -> Vec<Vec<f64>>>,
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

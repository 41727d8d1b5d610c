//! `baseline`: a classifier without pretraining, which trains in seconds. It replaces `tokenize`,
//! `finetune` and `predict` and writes the same outputs as `predict`, so that a score has something
//! to be compared with.
//!
//! There are two kinds: TF-IDF features of word and character n-grams with logistic regression, as
//! in scikit-learn ([`tfidf`], [`logistic`]); and averaged embeddings of hashed n-grams with a
//! linear layer, as in fastText ([`embedding`]).

pub mod embedding;
mod examples;
mod fitted;
pub mod lbfgs;
pub mod logistic;
mod metrics;
mod ngram;
mod other_task;
pub mod params;
pub mod ridge;
mod sparse;
pub mod tfidf;

use std::path::Path;

pub use self::sparse::Matrix;

use self::examples::{Examples, read};
use self::metrics::Quality;
use self::other_task::OtherBaseline;
use self::params::{BaselineKind, BaselineParams};
use crate::data::classification::Headline;
use crate::data::example::Example;
use crate::data::prediction::{ANSWER, PREDICTIONS, Prediction, PredictionWriter, VALID};
use crate::data::task::Task;
use crate::stage::error::{StageError, hints};
use crate::stage::event::Event;
use crate::stage::output::write_json;
use crate::stage::params::Params;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};

/// The stage.
pub struct Baseline;

const SPEC: StageSpec = StageSpec {
    name: "baseline",
    version: 2,
    summary: "a classifier of word and character n-grams, trained in seconds",
    inputs: &[
        InputSpec::required(
            "train",
            Kind::File,
            "labelled examples to train on, as `ingest` or `split` writes them",
        ),
        InputSpec::optional(
            "valid",
            Kind::File,
            "examples to predict and to evaluate on, for `score`",
        ),
        InputSpec::optional("test", Kind::File, "examples to predict; `answer` holds their labels"),
    ],
    outputs: &[
        PREDICTIONS,
        ANSWER,
        VALID,
        OutputSpec::new(
            "metrics",
            "metrics.json",
            Kind::File,
            "accuracy, number of features and loss; for the kind `ngram` also the features with the \
         greatest weights for each label",
        ),
    ],
    params: params::PARAMS,
    headline: &[
        "features",
        "train_accuracy",
        "valid_accuracy",
        "valid_f1",
        "valid_micro_f1",
        "valid_macro_f1",
        "valid_pearson",
        "valid_rmse",
    ],
};

impl Stage for Baseline {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, params: &Params, _: &[&str]) -> Result<(), CheckError> {
        params::check(params)
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let params = BaselineParams::of(context.params());
        let turns = params.context;
        let train = read(context.input("train")?, turns)?;
        let task = train.task()?;
        if task != Task::Single {
            return run_other(context, &params, &train, task);
        }
        let classes = train.classes()?;
        let positive = context.params().optional_text("positive");
        let headline = Headline::of_training(&classes.names, positive)
            .map_err(|problem| StageError::Param { name: "positive", problem })?;
        let wired = |input| context.optional_input(input).map(|path| read(path, turns)).transpose();
        let (valid, test) = (wired("valid")?, wired("test")?);
        for (input, examples) in [("valid", &valid), ("test", &test)] {
            let untrained = examples.as_ref().and_then(|it| it.untrained(input, &classes.names));
            untrained.into_iter().for_each(|message| context.emit(Event::Warning { message }));
        }

        let fitted = match params.kind {
            BaselineKind::Embedding => embedding::train(context, &params, &train, &classes)?,
            BaselineKind::Ngram => ngram::train(context, &params, &train, &classes)?,
        };
        let mut metrics = fitted.metrics;
        let predict = |examples| rows(examples, &classes.names, &(fitted.predict)(examples));
        metrics.train = Some(Quality::of(&predict(&train)?, &classes, positive));
        if let Some(valid) = &valid {
            let rows = predict(valid)?;
            let golds = rows.iter().filter_map(|row| row.gold.as_ref()?.label());
            if let Some(message) = headline.warning("`valid`", golds) {
                context.emit(Event::Warning { message });
            }
            metrics.valid = Some(Quality::of(&rows, &classes, positive));
            write(&rows, context.output("valid")?, None)?;
        }
        if let Some(test) = &test {
            write(
                &predict(test)?,
                context.output("predictions")?,
                Some(context.output("answer")?),
            )?;
        }
        write_json(context.output("metrics")?, &metrics)?;
        context.emit(Event::Metrics { step: None, values: metrics.for_record() });
        Ok(())
    }
}

/// Trains and predicts several labels a text, or numbers.
fn run_other(
    context: &Context,
    params: &BaselineParams,
    train: &Examples,
    task: Task,
) -> Result<(), StageError> {
    let mut model = OtherBaseline::train(context, params, train, task)?;
    let mismatch = |path: &Path, problem| StageError::File { path: path.to_owned(), problem };
    let rows = model.predict(train)?;
    model.note(true, &rows).map_err(|problem| mismatch(&train.path, problem))?;
    for (input, output) in [("valid", "valid"), ("test", "predictions")] {
        let Some(path) = context.optional_input(input) else { continue };
        let examples = read(path, params.context)?;
        let untrained = examples.untrained(input, model.labels());
        untrained.into_iter().for_each(|message| context.emit(Event::Warning { message }));
        let rows = model.predict(&examples)?;
        if input == "valid" {
            model.note(false, &rows).map_err(|problem| mismatch(path, problem))?;
        }
        let answer = (input == "test").then(|| context.output("answer")).transpose()?;
        write(&rows, context.output(output)?, answer)?;
    }
    let (metrics, values) = model.metrics();
    write_json(context.output("metrics")?, metrics)?;
    context.emit(Event::Metrics { step: None, values });
    Ok(())
}

fn write(rows: &[Prediction], path: &Path, answer: Option<&Path>) -> Result<(), StageError> {
    let mut writer = PredictionWriter::create(path, answer)?;
    rows.iter().try_for_each(|row| writer.write(row))?;
    writer.finish()
}

/// The prediction for each example. A tie goes to the first label in alphabetical order.
///
/// # Errors
/// A probability is not finite.
fn rows(
    examples: &Examples,
    names: &[String],
    probabilities: &[Vec<f64>],
) -> Result<Vec<Prediction>, StageError> {
    let row = |(example, values): (&Example, &Vec<f64>)| {
        let best =
            (1..values.len()).fold(0, |best, it| if values[it] > values[best] { it } else { best });
        if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
            let doing = format!("classifying example `{}`", example.id);
            let (what, hint) = ("a probability".to_owned(), hints::EMBEDDING);
            return Err(StageError::NotFinite { doing, what, value, hint });
        }
        Ok(Prediction {
            id: example.id.clone(),
            label: names[best].clone().into(),
            probabilities: names.iter().cloned().zip(values.iter().copied()).collect(),
            gold: example.label.clone(),
        })
    };
    examples.rows.iter().zip(probabilities).map(row).collect()
}

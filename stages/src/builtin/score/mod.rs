//! The stage `score`, the last of a pipeline. Compares predictions with true labels: figures as
//! scikit-learn defines them, with bootstrap confidence intervals. Also compares them with other
//! predictions for the same examples.

pub mod bootstrap;
mod calibration;
mod confusion;
mod label_warnings;
mod mcnemar;
mod multi;
pub mod paired_comparison;
pub mod params;
pub mod power;
mod ranking;
mod regression;
mod report;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::label_warnings::label_warnings;
use self::paired_comparison::compare_files;
use self::params::{PARAMS, ScoreParams};
use self::ranking::{Ranking, ranking};
use self::report::{Against, InputHeadline, InputScore, Scores, emit_metrics, score, unlabelled};
use self::tally::PredictionTally;
use crate::data::classification::Headline;
use crate::data::nearest::list_names;
use crate::data::task::Task;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::write_json;
use crate::stage::params::Params;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};

/// The stage.
pub struct Score;

const SPEC: StageSpec = StageSpec {
    name: "score",
    version: 4,
    summary: "precision, recall and F1 of predictions, with intervals",
    inputs: &[
        InputSpec::optional(
            "valid",
            Kind::File,
            "predictions for the validation examples, as `predict` writes them",
        ),
        InputSpec::optional(
            "test",
            Kind::File,
            "predictions for the test examples; if they have no true labels they are only counted",
        ),
        InputSpec::optional(
            "against",
            Kind::File,
            "other predictions for the same examples in the same order, to compare with `test` or \
              `valid`, whichever begins with the same id",
        ),
    ],
    outputs: &[OutputSpec::new(
        "scores",
        "scores.json",
        Kind::File,
        "for each input: accuracy, precision, recall, F1, the confusion matrix, intervals, ROC \
          AUC, average precision and calibration; under `against`: differences, their intervals, \
          and McNemar's test",
    )],
    params: PARAMS,
    headline: &[
        "valid_accuracy",
        "valid_f1",
        "valid_micro_f1",
        "valid_macro_f1",
        "valid_pearson",
        "valid_spearman",
        "valid_rmse",
        "test_accuracy",
        "test_precision",
        "test_macro_precision",
        "test_recall",
        "test_macro_recall",
        "test_f1",
        "test_micro_f1",
        "test_macro_f1",
        "test_pearson",
        "test_spearman",
        "test_rmse",
        "accuracy_difference",
        "f1_difference",
        "micro_f1_difference",
        "macro_f1_difference",
        "mcnemar_p",
    ],
};

impl Stage for Score {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        let refuse = |name, message| Err(CheckError { name, message });
        if !wired.iter().any(|name| ["valid", "test"].contains(name)) {
            let message = "`score` needs an input: `valid`, `test` or both";
            return refuse(None, message.to_owned());
        }
        let ScoreParams { confidence, replicates, .. } = ScoreParams::of(params);
        if confidence <= 0.0 || confidence >= 1.0 {
            let message =
                format!("`confidence` is {confidence}, expected more than 0 and less than 1");
            return refuse(Some("confidence"), message);
        }
        if replicates == 1 {
            let message = "`bootstrap` is 1, expected 0 for no intervals or at least 2";
            return refuse(Some("bootstrap"), message.to_owned());
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let params = ScoreParams::of(context.params());
        if let Some(inputs) = inputs_of_another_task(context, &params)? {
            let against = context.optional_input("against");
            let against =
                against.map(|path| compare_against(context, path, &params)).transpose()?;
            let scores = Scores { inputs, against };
            write_json(context.output("scores")?, &scores)?;
            emit_metrics(context, &scores);
            return Ok(());
        }
        let mut tallies = BTreeMap::new();
        for input in ["valid", "test"] {
            if let Some(path) = context.optional_input(input) {
                tallies.insert(input, tally::read(context, path)?);
            }
        }
        let declared = params.positive.as_deref();
        check_positive(declared, &tallies)?;
        let mut inputs = BTreeMap::new();
        for (&input, tally) in &tallies {
            // By the labels of this input alone: another input must not change its figures.
            let headline = Headline::of(tally.labels.iter().map(|(name, _)| name), declared);
            let positive = headline.positive().or(declared).map(str::to_owned);
            let of = InputHeadline { headline, positive };
            warn(context, input, tally, &of);
            let ranking = match &of.positive {
                Some(positive) if tally.labelled > 0 && tally.without_probabilities == 0 => {
                    ranking(tally::read_scored(context.input(input)?, positive)?)
                }
                _ => Ranking::default(),
            };
            inputs.insert(input, score(&params, input, tally, &of, ranking));
        }
        let against = context.optional_input("against");
        let against = against.map(|path| compare_against(context, path, &params)).transpose()?;
        for (input, tally) in &tallies {
            for message in label_warnings(input, tally) {
                context.emit(Event::Warning { message });
            }
        }
        let scores = Scores { inputs, against };
        write_json(context.output("scores")?, &scores)?;
        emit_metrics(context, &scores);
        Ok(())
    }
}

/// The scores of inputs with several labels a text, or with numbers; `None` if each has one label.
///
/// # Errors
/// An input is malformed or has another task than the others; `positive` is given.
fn inputs_of_another_task(
    context: &Context,
    params: &ScoreParams,
) -> Result<Option<BTreeMap<&'static str, InputScore>>, StageError> {
    let mut task = None;
    for input in ["valid", "test", "against"] {
        let Some(path) = context.optional_input(input) else { continue };
        let found = tally::task_of(path)?;
        let expected = *task.get_or_insert(found);
        if found != expected {
            let (found, expected) = (found.labels_in_words(), expected.labels_in_words());
            let problem = format!("each prediction is {found}, in the other input {expected}");
            return Err(StageError::File { path: path.to_owned(), problem });
        }
    }
    let Some(task) = task.filter(|task| *task != Task::Single) else { return Ok(None) };
    if params.positive.is_some() {
        let found = task.labels_in_words();
        let problem = format!("each prediction is {found}, so no label is the positive one");
        return Err(StageError::Param { name: "positive", problem });
    }
    let mut inputs = BTreeMap::new();
    for input in ["valid", "test"] {
        let Some(path) = context.optional_input(input) else { continue };
        let score = match task {
            Task::Regression => {
                let (rows, score) = regression::score(context, path, input, params)?;
                score.map_or(unlabelled(rows), |score| InputScore::Regression(Box::new(score)))
            }
            _ => {
                let (rows, score, warnings) = multi::score(context, path, input, params)?;
                warnings.into_iter().for_each(|message| context.emit(Event::Warning { message }));
                score.map_or(unlabelled(rows), |score| InputScore::Multi(Box::new(score)))
            }
        };
        inputs.insert(input, score);
    }
    Ok(Some(inputs))
}

/// Compares the input that begins with the same id as `path`; if neither does, `test`, for which
/// the comparison then fails with the row that differs.
fn compare_against(
    context: &Context,
    path: &Path,
    params: &ScoreParams,
) -> Result<Against, StageError> {
    let wanted = tally::first_id(path)?;
    let wired: Vec<_> = ["test", "valid"]
        .into_iter()
        .filter_map(|input| Some((input, context.optional_input(input)?)))
        .collect();
    let mut chosen = wired.first().copied().ok_or(StageError::NoSuchInput { name: "test" })?;
    for &(input, path) in wired.iter().rev() {
        if tally::first_id(path)? == wanted {
            chosen = (input, path);
        }
    }
    let (input, this) = chosen;
    Ok(Against { input, comparison: compare_files(this, path, params)? })
}

/// Warns if no row of an input has the positive label.
fn warn(context: &Context, input: &str, tally: &PredictionTally, of: &InputHeadline) {
    let Some(positive) = of.positive.clone().filter(|_| tally.labelled > 0) else { return };
    let number = tally.labels.get(&positive);
    let golds = tally.counts.cells.keys().filter(|(gold, _)| Some(*gold) == number);
    let golds = golds.map(|_| positive.as_str());
    let rows = format!("`{input}`");
    if let Some(message) = Headline::Positive(positive.clone()).warning(&rows, golds) {
        context.emit(Event::Warning { message });
    }
}

/// Checks that at least one input knows the declared positive label.
fn check_positive(
    declared: Option<&str>,
    tallies: &BTreeMap<&str, PredictionTally>,
) -> Result<(), StageError> {
    let known = tallies.values().flat_map(|tally| tally.labels.iter().map(|(name, _)| name));
    let known: BTreeSet<&str> = known.collect();
    let Some(label) = declared.filter(|label| !known.contains(label)) else { return Ok(()) };
    let known = list_names(label, known);
    let problem = format!("no prediction knows the label `{label}`; there are {known}");
    Err(StageError::Param { name: "positive", problem })
}

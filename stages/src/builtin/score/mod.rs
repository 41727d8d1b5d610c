//! `score`: the last stage. Compares predictions with true labels; figures as scikit-learn
//! defines them, with bootstrap intervals that say how much of a difference is noise; and with
//! other predictions of the same examples, figure by figure and row by row.

mod bootstrap;
mod calibration;
pub mod compare;
mod counts;
mod input;
mod mcnemar;
mod ranking;
mod report;
pub mod threshold;

use std::collections::BTreeMap;
use std::path::Path;

use self::compare::{Settings, compare_files};
use self::input::Tally;
use self::ranking::{Ranking, ranking};
use self::report::{Against, Scores, emit_metrics, score};
use crate::data::nearest::list_names;
use crate::stage::error::StageError;
use crate::stage::output::write_json;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

/// The stage.
pub struct Score;

const INPUTS: &[InputSpec] = &[
    InputSpec::optional(
        "valid",
        Kind::File,
        "predictions for the validation examples, as `predict` writes them",
    ),
    InputSpec::optional(
        "test",
        Kind::File,
        "predictions for the test examples; without true labels they are only counted",
    ),
    InputSpec::optional(
        "against",
        Kind::File,
        "other predictions, of the same examples in the same order as `test` or `valid` \
              (whichever begins with the same id), to compare those with",
    ),
];

const OUTPUTS: &[OutputSpec] = &[OutputSpec::new(
    "scores",
    "scores.json",
    Kind::File,
    "for each input accuracy, precision, recall, F1, the confusion matrix, intervals, ROC \
          AUC, average precision and calibration; and under `against` differences, their \
          intervals, and McNemar's test",
)];

const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "positive",
        ParamKind::Text,
        Default::Null,
        "the label whose precision, recall and F1 are the headline; by default the last in \
              alphabetical order",
    ),
    ParamSpec::new(
        "bootstrap",
        ParamKind::int(0, 1_000_000),
        Default::Int(1000),
        "how many times the rows are drawn anew for the intervals; 0 for no intervals",
    ),
    ParamSpec::new(
        "confidence",
        ParamKind::float(0.0, 1.0),
        Default::Float(0.95),
        "how sure the intervals are, more than 0 and less than 1",
    ),
    ParamSpec::new(
        "seed",
        ParamKind::int(0, i64::MAX),
        Default::Int(42),
        "which of the random draws for the intervals",
    ),
];

impl Stage for Score {
    fn name(&self) -> &'static str {
        "score"
    }

    fn version(&self) -> u32 {
        2
    }

    fn summary(&self) -> &'static str {
        "precision, recall and F1 of predictions, with intervals"
    }

    fn inputs(&self) -> &'static [InputSpec] {
        INPUTS
    }

    fn outputs(&self) -> &'static [OutputSpec] {
        OUTPUTS
    }

    fn params(&self) -> &'static [ParamSpec] {
        PARAMS
    }

    fn headline(&self) -> &'static [&'static str] {
        &[
            "valid_accuracy",
            "valid_f1",
            "test_accuracy",
            "test_precision",
            "test_recall",
            "test_f1",
            "accuracy_difference",
            "f1_difference",
            "mcnemar_p",
        ]
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        let refuse = |name, message| Err(CheckError { name, message });
        if !wired.iter().any(|name| ["valid", "test"].contains(name)) {
            let message = "`score` needs an input: `valid`, `test` or both";
            return refuse(None, message.to_owned());
        }
        let confidence = params.float("confidence");
        if confidence <= 0.0 || confidence >= 1.0 {
            let message =
                format!("`confidence` is {confidence}, expected more than 0 and less than 1");
            return refuse(Some("confidence"), message);
        }
        if params.int("bootstrap") == 1 {
            let message = "`bootstrap` is 1, expected 0 for none or enough for an interval";
            return refuse(Some("bootstrap"), message.to_owned());
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let mut tallies = BTreeMap::new();
        for input in ["valid", "test"] {
            if let Some(path) = context.optional_input(input) {
                tallies.insert(input, input::read(context, path)?);
            }
        }
        let positive = positive_label(context.params(), &tallies)?;
        let mut inputs = BTreeMap::new();
        for (&input, tally) in &tallies {
            let ranking = match tally.labelled > 0 && tally.without_probabilities == 0 {
                true => ranking(input::read_scored(context.input(input)?, &positive)?),
                false => Ranking::default(),
            };
            inputs.insert(input, score(context.params(), input, tally, &positive, ranking));
        }
        let against = match context.optional_input("against") {
            Some(path) => Some(against(context, path, positive)?),
            None => None,
        };
        let scores = Scores { inputs, against };
        write_json(context.output("scores")?, &scores)?;
        emit_metrics(context, &scores);
        Ok(())
    }
}

/// Compares the input that begins with the same id.
fn against(context: &Context, path: &Path, positive: String) -> Result<Against, StageError> {
    let params = context.params();
    let wanted = input::first_id(path)?;
    let wired: Vec<_> = ["test", "valid"]
        .into_iter()
        .filter_map(|input| Some((input, context.optional_input(input)?)))
        .collect();
    let mut chosen = wired.first().copied().ok_or(StageError::NoSuchInput { name: "test" })?;
    for &(input, path) in wired.iter().rev() {
        if input::first_id(path)? == wanted {
            chosen = (input, path);
        }
    }
    let settings = Settings {
        positive: Some(positive),
        replicates: params.count("bootstrap"),
        confidence: params.float("confidence"),
        seed: params.int("seed").unsigned_abs(),
    };
    let (input, this) = chosen;
    Ok(Against { input, comparison: compare_files(this, path, &settings)? })
}

/// The parameter, if an input knows that label; else the last label of all inputs.
fn positive_label(params: &Params, tallies: &BTreeMap<&str, Tally>) -> Result<String, StageError> {
    let mut known: Vec<&str> =
        tallies.values().flat_map(|tally| tally.labels.iter().map(|(name, _)| name)).collect();
    known.sort_unstable();
    known.dedup();
    match params.optional_text("positive") {
        Some(label) if !known.contains(&label) => {
            let known = list_names(label, known);
            let problem = format!("no prediction knows the label `{label}`; there are {known}");
            Err(StageError::Param { name: "positive", problem })
        }
        Some(label) => Ok(label.to_owned()),
        None => Ok(known.last().copied().unwrap_or_default().to_owned()),
    }
}

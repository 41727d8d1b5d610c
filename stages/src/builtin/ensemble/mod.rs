//! `ensemble`: combines several predictions of the same examples into one, by mean probability or
//! by majority. It stands between `predict` (or `baseline`) and `score`, and writes the same outputs
//! as `predict`.
//!
//! Its inputs are folders with one file per member, named after the member.

mod combine;
mod members;
pub mod params;

use std::collections::BTreeMap;
use std::path::Path;

use self::combine::combine;
use self::members::Members;
use self::params::{EnsembleParams, Method, PARAMS};
use crate::data::nearest::list_names;
use crate::data::prediction::{ANSWER_DOC, PredictionWriter};
use crate::data::task::Task;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::params::Params;
use crate::stage::progress::Progress;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};

/// The stage.
pub struct Ensemble;

const SPEC: StageSpec = StageSpec {
    name: "ensemble",
    version: 1,
    summary: "combines several predictions into one, by mean probability or by vote",
    inputs: &[
        InputSpec::many(
            "predictions",
            Kind::File,
            "predictions of the members, as `predict` writes them: the same examples in the same \
         order; `answer` holds their labels",
        ),
        InputSpec::many(
            "valid",
            Kind::File,
            "predictions of the validation examples by the same members, for `score`",
        ),
    ],
    outputs: &[
        OutputSpec::new(
            "predictions",
            "predictions.jsonl",
            Kind::File,
            "label and mean probabilities of each example, in the members' order of examples",
        )
        .given("predictions"),
        OutputSpec::new("answer", "answer.txt", Kind::File, ANSWER_DOC).given("predictions"),
        OutputSpec::new(
            "valid",
            "valid.jsonl",
            Kind::File,
            "label and mean probabilities of each example of `valid`",
        )
        .given("valid"),
    ],
    params: PARAMS,
    headline: &["members", "agreement", "valid_agreement"],
};

impl Stage for Ensemble {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, _: &Params, wired: &[&str]) -> Result<(), CheckError> {
        if wired.is_empty() {
            let message = "`ensemble` needs an input: `predictions`, `valid` or both".to_owned();
            return Err(CheckError { name: None, message });
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let params = EnsembleParams::of(context.params());
        let mut names: Option<Vec<String>> = None;
        let mut values = BTreeMap::new();
        for input in ["predictions", "valid"] {
            let Some(folder) = context.optional_input(input) else { continue };
            let members = Members::open(folder)?;
            if let Some(names) = &names {
                same_members(names, folder, members.names())?;
            }
            let weights = weights(&params.weights, members.names())?;
            let has_answer = input == "predictions";
            let answer = has_answer.then(|| context.output("answer")).transpose()?;
            let writer = PredictionWriter::create(context.output(input)?, answer)?;
            names = Some(members.names().to_vec());
            let agreement = write(context, members, &weights, params.method, writer)?;
            let name = if input == "valid" { "valid_agreement" } else { "agreement" };
            values.extend(agreement.map(|agreement| (name.to_owned(), agreement)));
        }
        values.insert("members".to_owned(), names.map_or(0, |names| names.len()) as f64);
        context.emit(Event::Metrics { step: None, values });
        Ok(())
    }
}

/// Combines the members row by row. Returns the share of rows in which all members predict the same
/// labels; `None` of numbers, which are never the same.
fn write(
    context: &Context,
    mut members: Members,
    weights: &[f64],
    method: Method,
    mut writer: PredictionWriter,
) -> Result<Option<f64>, StageError> {
    let mut progress = Progress::new(context, "bytes");
    let (mut rows, mut agreed, mut numbers) = (0_u64, 0_u64, false);
    while let Some(row) = members.next_row()? {
        rows += 1;
        numbers |= row[0].label.task() == Task::Regression;
        if method == Method::Vote && numbers {
            let problem = "members cannot vote on a number; `mean` combines them".to_owned();
            return Err(StageError::Param { name: "method", problem });
        }
        agreed += u64::from(row.windows(2).all(|pair| pair[0].label == pair[1].label));
        writer.write(&combine(&row, weights, method))?;
        let (done, total) = members.bytes();
        progress.update(done, total);
    }
    writer.finish()?;
    Ok((!numbers).then_some(agreed as f64 / rows.max(1) as f64))
}

/// The weight of each member.
fn weights(given: &BTreeMap<String, f64>, names: &[String]) -> Result<Vec<f64>, StageError> {
    let problem = |problem| StageError::Param { name: "weights", problem };
    if let Some(unknown) = given.keys().find(|name| !names.contains(name)) {
        let known = list_names(unknown, names.iter().map(String::as_str));
        return Err(problem(format!("there is no member `{unknown}`; there are {known}")));
    }
    let weights: Vec<f64> =
        names.iter().map(|name| given.get(name).copied().unwrap_or(1.0)).collect();
    let sum: f64 = weights.iter().sum();
    if sum == 0.0 || !sum.is_finite() {
        return Err(problem(format!("they sum to {sum}, expected more than 0")));
    }
    Ok(weights)
}

/// Checks that the input in `folder` has the members of `predictions`.
fn same_members(wanted: &[String], folder: &Path, found: &[String]) -> Result<(), StageError> {
    let missing = wanted.iter().find(|name| !found.contains(name));
    let further = found.iter().find(|name| !wanted.contains(name));
    let problem = match (missing, further) {
        (Some(name), _) => format!("no member `{name}`, which `predictions` has"),
        (None, Some(name)) => format!("a member `{name}`, which `predictions` lacks"),
        (None, None) => return Ok(()),
    };
    Err(StageError::File { path: folder.to_owned(), problem })
}

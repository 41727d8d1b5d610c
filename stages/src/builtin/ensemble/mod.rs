//! `ensemble`: several predictions of the same examples become one, by the mean of their
//! probabilities or by majority. Between `predict` (or `baseline`) and `score`; it writes what
//! `predict` writes.
//!
//! A set of predictions is a folder with one file for each member, named after it.

mod combine;
mod members;

use std::collections::BTreeMap;
use std::path::Path;

use self::combine::{Method, combine};
use self::members::Members;
use crate::data::nearest::list_names;
use crate::data::prediction::PredictionWriter;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::stage::progress::Progress;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

/// The stage.
pub struct Ensemble;

const INPUTS: &[InputSpec] = &[
    InputSpec::many(
        "predictions",
        Kind::File,
        "predictions of the members, as `predict` writes them: the same examples in the same \
              order; `answer` is about these",
    ),
    InputSpec::many(
        "valid",
        Kind::File,
        "the same members' predictions of the validation examples, for `score`",
    ),
];

const OUTPUTS: &[OutputSpec] = &[
    OutputSpec::new(
        "predictions",
        "predictions.jsonl",
        Kind::File,
        "label and mean probabilities of each example, in the order of the members",
    )
    .given("predictions"),
    OutputSpec::new(
        "answer",
        "answer.txt",
        Kind::File,
        "a line `id,LABEL` for each example of `predictions`, in its order",
    )
    .given("predictions"),
    OutputSpec::new(
        "valid",
        "valid.jsonl",
        Kind::File,
        "label and mean probabilities of each example of `valid`",
    )
    .given("valid"),
];

const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "method",
        ParamKind::Choice(&["mean", "vote"]),
        Default::Text("mean"),
        "the label: of the highest mean probability, or of most members; of equals, the one \
              of the higher mean probability, then the first in alphabetical order",
    ),
    ParamSpec::new(
        "weights",
        ParamKind::FloatMap { min: 0.0, max: f64::MAX },
        Default::EmptyMap,
        "how much a member counts, by its name, for instance `seed=1: 2`; 1 where not given",
    ),
];

impl Stage for Ensemble {
    fn name(&self) -> &'static str {
        "ensemble"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "one prediction from several, by mean probability or by vote"
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
        &["members", "agreement", "valid_agreement"]
    }

    fn check(&self, _: &Params, wired: &[&str]) -> Result<(), CheckError> {
        if wired.is_empty() {
            let message = "`ensemble` needs an input: `predictions`, `valid` or both".to_owned();
            return Err(CheckError { name: None, message });
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let method = match context.params().text("method") {
            "vote" => Method::Vote,
            _ => Method::Mean,
        };
        let mut names: Option<Vec<String>> = None;
        let mut values = BTreeMap::new();
        for input in ["predictions", "valid"] {
            let Some(folder) = context.optional_input(input) else { continue };
            let members = Members::open(folder)?;
            if let Some(names) = &names {
                same_members(names, folder, members.names())?;
            }
            let weights = weights(context.params(), members.names())?;
            let answer = match input {
                "predictions" => Some(context.output("answer")?),
                _ => None,
            };
            let writer = PredictionWriter::create(context.output(input)?, answer)?;
            names = Some(members.names().to_vec());
            let agreement = write(context, members, &weights, method, writer)?;
            let name = if input == "valid" { "valid_agreement" } else { "agreement" };
            values.insert(name.to_owned(), agreement);
        }
        values.insert("members".to_owned(), names.map_or(0, |names| names.len()) as f64);
        context.emit(Event::Metrics { step: None, values });
        Ok(())
    }
}

/// Combines row after row; returns the share of rows in which all members say the same.
fn write(
    context: &Context,
    mut members: Members,
    weights: &[f64],
    method: Method,
    mut writer: PredictionWriter,
) -> Result<f64, StageError> {
    let mut progress = Progress::new(context, "bytes");
    let (mut rows, mut agreed) = (0_u64, 0_u64);
    while let Some(row) = members.next_row()? {
        rows += 1;
        agreed += u64::from(row.windows(2).all(|pair| pair[0].label == pair[1].label));
        writer.write(&combine(&row, weights, method))?;
        let (done, total) = members.bytes();
        progress.update(done, total);
    }
    writer.finish()?;
    Ok(agreed as f64 / rows.max(1) as f64)
}

/// A weight for each member.
fn weights(params: &Params, names: &[String]) -> Result<Vec<f64>, StageError> {
    let problem = |problem| StageError::Param { name: "weights", problem };
    let given = params.float_map("weights");
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

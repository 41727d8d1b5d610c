//! The stage `ingest`, the first of a pipeline. Reads labelled texts from JSONL, CSV or TSV,
//! checks every row, and writes examples, a report, and the rows that it skipped.
//!
//! Rows are streamed. Memory holds 16 bytes a row to find equal texts and, if the input has ids,
//! 10 to 20 bytes a row to find equal ids.

mod checks;
mod delimited;
mod duplicates;
mod jsonl;
pub mod params;
pub mod reader;
mod report;
pub mod texts;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use self::checks::checked;
use self::duplicates::{Ids, count_shared};
use self::params::{IngestParams, OnError, PARAMS};
use self::reader::{DataFormat, InputReader};
use self::report::{IngestReport, InputReport, InputTally};
use crate::data::example::TextKey;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::{OutputFile, write_json};
use crate::stage::params::Params;
use crate::stage::progress::Progress;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};

/// The stage.
pub struct Ingest;

const SPEC: StageSpec = StageSpec {
    name: "ingest",
    version: 1,
    summary: "reads and checks labelled texts from JSONL, CSV or TSV",
    inputs: &[
        InputSpec::optional("train", Kind::File, "labelled texts to train and validate with"),
        InputSpec::optional("test", Kind::File, "texts to predict, with or without labels"),
    ],
    outputs: &[
        OutputSpec::new(
            "train",
            "train.jsonl",
            Kind::File,
            "the training examples: `id`, `label`, `text`, `context`, `line`",
        )
        .given("train"),
        OutputSpec::new(
            "test",
            "test.jsonl",
            Kind::File,
            "the test examples, in the order of the input",
        )
        .given("test"),
        OutputSpec::new(
            "report",
            "report.json",
            Kind::File,
            "rows, labels, lengths and equal texts of each input",
        ),
        OutputSpec::new(
            "skipped",
            "skipped.jsonl",
            Kind::File,
            "the rows that `on_error: skip` left out: `input`, `line`, `problem`, `raw`",
        ),
    ],
    params: PARAMS,
    headline: &["train_rows", "test_rows", "train_skipped", "test_skipped"],
};

impl Stage for Ingest {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        let refuse = |name, message: &str| Err(CheckError { name, message: message.to_owned() });
        let params = IngestParams::of(params);
        if wired.is_empty() {
            return refuse(None, "`ingest` needs an input: `train`, `test` or both");
        }
        let fields = [
            ("text_field", &params.text_field),
            ("label_field", &params.label_field),
            ("id_field", &params.id_field),
            ("context_field", &params.context_field),
        ];
        for (index, (name, field)) in fields.into_iter().enumerate() {
            if field.is_empty() {
                return refuse(Some(name), &format!("`{name}` is empty, expected a field's name"));
            }
            if let Some((other, _)) = fields[..index].iter().find(|(_, other)| *other == field) {
                let message = format!("`{other}` and `{name}` are both the field `{field}`");
                return refuse(Some(name), &message);
            }
        }
        if params.context_separator.as_deref() == Some("") {
            return refuse(Some("context_separator"), "`context_separator` is empty");
        }
        let holds_empty = [
            ("labels", params.labels.contains("")),
            ("remove", params.remove.contains(&String::new())),
        ];
        match holds_empty.into_iter().find(|(_, holds_empty)| *holds_empty) {
            Some((name, _)) => refuse(Some(name), &format!("`{name}` holds an empty text")),
            None => Ok(()),
        }
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let params = IngestParams::of(context.params());
        let mut skipped = OutputFile::create(context.output("skipped")?)?;
        let train = read_input(context, &params, "train", &mut skipped)?;
        let test = read_input(context, &params, "test", &mut skipped)?;
        skipped.finish()?;

        let between = match (&train, &test) {
            (Some((_, train)), Some((_, test))) => Some(count_shared(train, test)),
            (None, _) | (_, None) => None,
        };
        let report = IngestReport {
            train: train.map(|(report, _)| report),
            test: test.map(|(report, _)| report),
            between_train_and_test: between,
        };
        write_json(context.output("report")?, &report)?;
        emit_findings(context, &report);
        Ok(())
    }
}

/// A line of `skipped.jsonl`.
#[derive(Serialize)]
struct SkippedRow<'a> {
    input: &'a str,
    line: u64,
    problem: &'a str,
    raw: &'a str,
}

/// Reads one input and writes its examples. Returns its report and the sorted keys of its texts,
/// or `None` if the pipeline does not wire it.
fn read_input(
    context: &Context,
    params: &IngestParams,
    input: &'static str,
    skipped: &mut OutputFile,
) -> Result<Option<(InputReport, Vec<TextKey>)>, StageError> {
    let Some(path) = context.optional_input(input) else { return Ok(None) };
    // The engine passes a link; error messages name the file that it points to.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let label_required = input == "train" && params.require_labels;
    let format = DataFormat::of_file(path, params)?;
    let mut reader = InputReader::open(path, format, params, label_required)?;
    let mut output = OutputFile::create(context.output(input)?)?;
    let mut progress = Progress::new(context, "bytes");
    let mut ids = Ids::new(input);
    let mut tally = InputTally::default();

    while let Some(row) = reader.next_row(params)? {
        let line = row.line;
        let example = row.example.and_then(|example| {
            let mut example = checked(example, params, label_required)?;
            let label = tally.label_of(&example)?;
            example.id = ids.of_row(example.id, line)?;
            Ok((example, label))
        });
        match (example, params.on_error) {
            (Ok((example, label)), _) => {
                tally.add(&example, label);
                output.write_json_line(&example)?;
            }
            (Err(problem), OnError::Skip) => {
                tally.skipped += 1;
                let raw = &String::from_utf8_lossy(row.raw);
                skipped.write_json_line(&SkippedRow { input, line, problem: &problem, raw })?;
            }
            (Err(problem), OnError::Fail) => {
                return Err(StageError::Line { path: path.clone(), line, problem });
            }
        }
        let (done, total) = reader.bytes();
        progress.update(done, total);
    }
    output.finish()?;
    if tally.keys.is_empty() {
        return Err(no_rows(path, tally.skipped));
    }
    Ok(Some(tally.finish(format)))
}

fn no_rows(path: &Path, skipped: u64) -> StageError {
    let problem = match skipped {
        0 => "holds no rows".to_owned(),
        _ => format!("holds no usable row: all {skipped} are malformed"),
    };
    StageError::File { path: path.to_owned(), problem }
}

/// Emits the counts as metrics, and what a person should look at as warnings.
fn emit_findings(context: &Context, report: &IngestReport) {
    let inputs = [("train", &report.train), ("test", &report.test)];
    let mut values = BTreeMap::new();
    for (input, report) in inputs {
        let Some(report) = report else { continue };
        values.insert(format!("{input}_rows"), report.rows as f64);
        values.insert(format!("{input}_skipped"), report.skipped as f64);
        let warn = |message| context.emit(Event::Warning { message });
        if report.skipped > 0 {
            let skipped = count(report.skipped, "malformed row");
            warn(format!("`{input}`: left out {skipped}; the output `skipped` has them"));
        }
        if report.empty_texts > 0 {
            warn(format!("`{input}`: {} with an empty text", count(report.empty_texts, "row")));
        }
        let conflicting = report.duplicate_texts.conflicting_groups;
        if conflicting > 0 {
            let groups = count(conflicting, "group");
            warn(format!("`{input}`: {groups} of equal texts with different labels"));
        }
    }
    if let Some(shared) = report.between_train_and_test.as_ref().filter(|it| it.groups > 0) {
        let message = format!(
            "{} of `test` with a text that `train` has too",
            count(shared.test_rows, "row")
        );
        context.emit(Event::Warning { message });
    }
    context.emit(Event::Metrics { step: None, values });
}

/// `1 row`, `2 rows`.
fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

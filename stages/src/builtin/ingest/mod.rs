//! `ingest`: the first stage. Reads labelled texts from JSONL, CSV or TSV, checks every row and
//! writes [`Example`]s, a report, and what it had to leave out.
//!
//! Rows stream: what stays in memory is 16 bytes a row for the search for equal texts and, in an
//! input with ids, 10 to 20 bytes a row for the search for equal ids.

mod delimited;
mod duplicates;
mod jsonl;
mod report;
mod row;
mod source;
pub mod texts;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use self::duplicates::{Ids, count_duplicates, count_shared};
use self::report::{InputReport, LabelShare, Lengths, Report};
use self::row::Fields;
use self::source::Source;
use crate::data::example::{Example, TextKey};
use crate::data::labels::LabelTable;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::{OutputFile, write_json};
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};
use crate::stage::progress::Progress;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage};

pub use self::duplicates::{Duplicates, Shared};
pub use self::source::Format;

/// The stage.
pub struct Ingest;

const INPUTS: &[InputSpec] = &[
    InputSpec::optional("train", Kind::File, "labelled texts to train and validate with"),
    InputSpec::optional("test", Kind::File, "texts to predict, with or without labels"),
];

const OUTPUTS: &[OutputSpec] = &[
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
        "what `on_error: skip` left out: `input`, `line`, `problem`, `raw`",
    ),
];

const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "format",
        ParamKind::Choice(&["auto", "jsonl", "csv", "tsv"]),
        Default::Text("auto"),
        "what the inputs are; `auto` looks at their content. CSV and TSV need a header; \
              quotation marks mean something in CSV only",
    ),
    ParamSpec::new(
        "text_field",
        ParamKind::Text,
        Default::Text("response"),
        "the field with the text to classify; every row must have it",
    ),
    ParamSpec::new(
        "label_field",
        ParamKind::Text,
        Default::Text("label"),
        "the field with the label: a text, or a number, which is taken as text",
    ),
    ParamSpec::new(
        "id_field",
        ParamKind::Text,
        Default::Text("id"),
        "the field with the row's id, unique within its input; a row without one is called \
              `<input>_<line>`, for instance `train_17`",
    ),
    ParamSpec::new(
        "context_field",
        ParamKind::Text,
        Default::Text("context"),
        "the field with the turns before the text, the oldest first: a list of texts, or \
              one text; may be absent",
    ),
    ParamSpec::new(
        "context_separator",
        ParamKind::Text,
        Default::Null,
        "splits a context that is one text into turns; without it such a text is one turn",
    ),
    ParamSpec::new(
        "labels",
        ParamKind::TextList,
        Default::TextList(&[]),
        "the labels that may occur; with an empty list any may",
    ),
    ParamSpec::new(
        "remove",
        ParamKind::TextList,
        Default::TextList(&[]),
        "strings that are taken out of text and context, in this order; white space around \
              them stays",
    ),
    ParamSpec::new(
        "require_labels",
        ParamKind::Bool,
        Default::Bool(true),
        "whether every row of `train` must have a label; rows of `test` never must",
    ),
    ParamSpec::new(
        "on_error",
        ParamKind::Choice(&["fail", "skip"]),
        Default::Text("fail"),
        "what a malformed row does: it fails the stage, or it is left out and kept in the \
              output `skipped`",
    ),
];

impl Stage for Ingest {
    fn name(&self) -> &'static str {
        "ingest"
    }

    fn version(&self) -> u32 {
        1
    }

    fn summary(&self) -> &'static str {
        "reads and checks labelled texts from JSONL, CSV or TSV"
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
        &["train_rows", "test_rows", "train_skipped", "test_skipped"]
    }

    fn check(&self, params: &Params, wired: &[&str]) -> Result<(), CheckError> {
        let refuse = |name, message: &str| Err(CheckError { name, message: message.to_owned() });
        if wired.is_empty() {
            return refuse(None, "`ingest` needs an input: `train`, `test` or both");
        }
        let names = ["text_field", "label_field", "id_field", "context_field"];
        for (index, name) in names.into_iter().enumerate() {
            if params.text(name).is_empty() {
                return refuse(Some(name), &format!("`{name}` is empty, expected a field's name"));
            }
            for other in &names[..index] {
                if params.text(name) == params.text(other) {
                    let field = params.text(name);
                    let message = format!("`{other}` and `{name}` are both the field `{field}`");
                    return refuse(Some(name), &message);
                }
            }
        }
        if params.optional_text("context_separator") == Some("") {
            return refuse(Some("context_separator"), "`context_separator` is empty");
        }
        for name in ["labels", "remove"] {
            if params.texts(name).iter().any(String::is_empty) {
                return refuse(Some(name), &format!("`{name}` holds an empty text"));
            }
        }
        Ok(())
    }

    fn run(&self, context: &Context) -> Result<(), StageError> {
        let mut skipped = OutputFile::create(context.output("skipped")?)?;
        let train = read_input(context, "train", &mut skipped)?;
        let test = read_input(context, "test", &mut skipped)?;
        skipped.finish()?;

        let between = match (&train, &test) {
            (Some((_, train)), Some((_, test))) => Some(count_shared(train, test)),
            _ => None,
        };
        let report = Report {
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
struct Skipped<'a> {
    input: &'a str,
    line: u64,
    problem: &'a str,
    raw: &'a str,
}

/// Reads one input and writes its examples; returns its report and the sorted keys of its texts,
/// or `None` if the pipeline does not wire it.
fn read_input(
    context: &Context,
    input: &'static str,
    skipped: &mut OutputFile,
) -> Result<Option<(InputReport, Vec<TextKey>)>, StageError> {
    let Some(path) = context.optional_input(input) else { return Ok(None) };
    // An engine hands over links; people know the file by the path it has itself.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let params = context.params();
    let fields = Fields::new(params);
    let label_required = input == "train" && params.bool("require_labels");
    let skip = params.text("on_error") == "skip";

    let format = Format::of(params.text("format"), path, &fields)?;
    let mut source = Source::open(path, format, &fields, label_required)?;
    let mut output = OutputFile::create(context.output(input)?)?;
    let mut progress = Progress::new(context, "bytes");
    let mut ids = Ids::new(input);
    let mut labels = LabelTable::default();
    // How many rows have no label, then by label number.
    let mut label_rows = vec![0];
    let mut keys = Vec::new();
    let mut lengths = Lengths::default();
    let mut skipped_rows = 0;

    while let Some(record) = source.next_record(&fields)? {
        let line = record.line;
        let example =
            record.row.and_then(|row| fields.checked(row, label_required)).and_then(|row| {
                let number = match &row.label {
                    Some(label) => 1 + labels.number(label)?,
                    None => 0,
                };
                let id = ids.of_row(row.id, line)?;
                let (label, text, context) = (row.label, row.text, row.context);
                Ok((number, Example { id, label, text, context, line }))
            });
        match example {
            Ok((label, example)) => {
                label_rows.resize(1 + labels.len(), 0);
                label_rows[usize::from(label)] += 1;
                keys.push(TextKey::new(&example.text, label));
                lengths.add(&example);
                output.write_json_line(&example)?;
            }
            Err(problem) if skip => {
                skipped_rows += 1;
                let raw = &String::from_utf8_lossy(record.raw);
                skipped.write_json_line(&Skipped { input, line, problem: &problem, raw })?;
            }
            Err(problem) => return Err(StageError::Line { path: path.clone(), line, problem }),
        }
        let (done, total) = source.bytes();
        progress.update(done, total);
    }
    output.finish()?;
    if keys.is_empty() {
        return Err(no_rows(path, skipped_rows));
    }

    keys.sort_unstable();
    let labelled: u64 = label_rows[1..].iter().sum();
    let report = InputReport {
        format: format.name(),
        rows: keys.len() as u64,
        skipped: skipped_rows,
        labels: labels
            .iter()
            .filter_map(|(name, number)| {
                // A label that only left-out rows had has no rows.
                let rows = *label_rows.get(1 + usize::from(number)).filter(|rows| **rows > 0)?;
                Some((name.to_owned(), LabelShare { rows, share: rows as f64 / labelled as f64 }))
            })
            .collect(),
        unlabelled_rows: label_rows[0],
        empty_texts: lengths.empty_texts,
        characters: lengths.characters.summary(),
        words: lengths.words.summary(),
        context_turns: lengths.context_turns.summary(),
        duplicate_texts: count_duplicates(&keys),
    };
    Ok(Some((report, keys)))
}

fn no_rows(path: &Path, skipped: u64) -> StageError {
    let problem = match skipped {
        0 => "holds no rows".to_owned(),
        _ => format!("holds no usable row: all {skipped} are malformed"),
    };
    StageError::File { path: path.to_owned(), problem }
}

/// Tells the engine the counts, and a person what to look at.
fn emit_findings(context: &Context, report: &Report) {
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

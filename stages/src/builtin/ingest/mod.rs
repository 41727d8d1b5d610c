//! The stage `ingest`, the first of a pipeline. Reads labelled texts from JSONL, JSON, CSV, TSV,
//! Parquet or Arrow, checks every row, and writes examples, a report, and the rows that it skipped.
//!
//! Rows are streamed. Memory holds 16 bytes a row to find equal texts and, if the input has ids,
//! 10 to 20 bytes a row to find equal ids.

mod checks;
#[cfg(feature = "columns")]
mod columnar;
mod delimited;
mod duplicates;
pub mod files;
mod findings;
pub mod jsonl;
pub mod layout;
pub mod params;
mod reader;
pub mod records;
mod report;
pub mod rows;
pub mod targets;
pub mod texts;

use serde::Serialize;

use self::duplicates::count_shared;
use self::files::InputFiles;
use self::findings::emit_findings;
use self::params::{FormatChoice, IngestParams, OnError, PARAMS, delimiter};
use self::report::{IngestReport, InputReport};
use self::rows::CheckedRows;
use crate::data::data_file::decode::{COMMON_ENCODINGS, encoding};
use crate::data::example::TextKey;
use crate::data::label_names::is_blank;
use crate::data::marks::Mark;
use crate::data::nearest::list_names;
use crate::data::task::Task;
use crate::stage::error::StageError;
use crate::stage::output::{OutputFile, write_json};
use crate::stage::params::Params;
use crate::stage::progress::Progress;
use crate::stage::{CheckError, Context, InputSpec, Kind, OutputSpec, Stage, StageSpec};

/// The stage.
pub struct Ingest;

const SPEC: StageSpec = StageSpec {
    name: "ingest",
    version: 4,
    summary: "reads and checks labelled texts from JSONL, JSON, CSV, TSV, Parquet or Arrow",
    inputs: &[
        InputSpec::optional(
            "train",
            Kind::File,
            "labelled texts to train and validate with; several files are read in the order of their names",
        )
        .or_several(),
        InputSpec::optional("test", Kind::File, "texts to predict, with or without labels")
            .or_several(),
    ],
    outputs: &[
        OutputSpec::new(
            "train",
            "train.jsonl",
            Kind::File,
            "the training examples: `id`, `label`, `text`, `context`, `line`, and `file` if there are several",
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
            "the rows that `on_error: skip` left out: `input`, `file` if there are several, `line`, `problem`, `raw`",
        ),
    ],
    params: PARAMS,
    headline: &["train_rows", "test_rows", "train_skipped", "test_skipped"],
};

impl Stage for Ingest {
    fn spec(&self) -> &'static StageSpec {
        &SPEC
    }

    fn check(&self, given: &Params, wired: &[&str]) -> Result<(), CheckError> {
        let refuse = |name, message: &str| Err(CheckError { name, message: message.to_owned() });
        let params = IngestParams::of(given);
        if wired.is_empty() {
            return refuse(None, "`ingest` needs an input: `train`, `test` or both");
        }
        let fields = [
            ("text_field", Some(&params.text_field)),
            ("label_field", params.label_field.as_ref()),
            ("id_field", params.id_field.as_ref()),
            ("context_field", params.context_field.as_ref()),
        ];
        for (index, (name, field)) in fields.into_iter().enumerate() {
            let Some(field) = field else { continue };
            if field.is_empty() {
                return refuse(Some(name), &format!("`{name}` is empty, expected a field's name"));
            }
            if let Some((other, _)) = fields[..index].iter().find(|(_, it)| *it == Some(field)) {
                let message = format!("`{other}` and `{name}` are both the field `{field}`");
                return refuse(Some(name), &message);
            }
        }
        check_task(&params)?;
        let has_label = params.label_field.is_some() || !params.form.fields.is_empty();
        if !has_label && params.require_labels && wired.contains(&"train") {
            let message = "`label_field` is null, so `train` has no labels: name the field, or set \
                           `require_labels: false`";
            return refuse(Some("label_field"), message);
        }
        check_delimiter(given, &params)?;
        check_encoding(given)?;
        if params.context_separator.as_deref() == Some("") {
            return refuse(Some("context_separator"), "`context_separator` is empty");
        }
        if let Some(unknown) = given.texts("strip").iter().find(|it| Mark::named(it).is_none()) {
            let known = list_names(unknown, Mark::WORDS.iter().copied());
            return refuse(Some("strip"), &format!("`strip` has `{unknown}`, and knows {known}"));
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
        emit_findings(context, &params, &report);
        Ok(())
    }
}

/// A line of `skipped.jsonl`.
#[derive(Serialize)]
struct SkippedRow<'a> {
    input: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
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
    let mut rows = CheckedRows::open(&InputFiles::at(path)?, params, input)?;
    let mut output = OutputFile::create(context.output(input)?)?;
    let mut progress = Progress::new(context, "bytes");
    while let Some(row) = rows.next_row()? {
        match (row.example, params.on_error) {
            (Ok(example), _) => output.write_json_line(&example)?,
            (Err(problem), OnError::Skip) => {
                let (file, line) = (row.file, row.line);
                let raw = &String::from_utf8_lossy(row.raw);
                let problem = &problem;
                skipped.write_json_line(&SkippedRow { input, file, line, problem, raw })?;
            }
            (Err(problem), OnError::Fail) => {
                return Err(rows.error(problem));
            }
        }
        let (done, total) = rows.bytes();
        progress.update(done, total);
    }
    output.finish()?;
    rows.finish().map(Some)
}

/// Refuses parameters about labels that the task does not have.
fn check_task(params: &IngestParams) -> Result<(), CheckError> {
    let refuse = |name, message: String| Err(CheckError { name: Some(name), message });
    let given = [
        ("label_separator", params.form.separator.is_some()),
        ("label_fields", !params.form.fields.is_empty()),
    ];
    if let Some((name, _)) =
        given.iter().find(|(_, given)| *given && params.form.task != Task::Multi)
    {
        return refuse(name, format!("`{name}` is for several labels a text: set `task: multi`"));
    }
    if given.iter().all(|(_, given)| *given) {
        let message = "`label_separator` is for one field, and `label_fields` names several";
        return refuse("label_separator", message.to_owned());
    }
    if params.form.separator.as_deref().is_some_and(is_blank) {
        let message = "`label_separator` is blank, expected what stands between two labels";
        return refuse("label_separator", message.to_owned());
    }
    let others =
        [Some(&params.text_field), params.id_field.as_ref(), params.context_field.as_ref()];
    for (index, field) in params.form.fields.iter().enumerate() {
        let is_other = others.contains(&Some(field));
        if field.is_empty() || is_other || params.form.fields[..index].contains(field) {
            let why = match (field.is_empty(), is_other) {
                (true, _) => "holds an empty text".to_owned(),
                (_, true) => format!("has the field `{field}`, which holds something else"),
                _ => format!("has the field `{field}` twice"),
            };
            return refuse("label_fields", format!("`label_fields` {why}"));
        }
    }
    let of_names =
        [("labels", !params.labels.is_empty()), ("label_map", !params.label_map.is_empty())];
    match of_names.iter().find(|(_, given)| *given && params.form.task == Task::Regression) {
        Some((name, _)) => refuse(
            name,
            format!("`{name}` is for names of labels, and of `regression` they are numbers"),
        ),
        None => Ok(()),
    }
}

/// Refuses a delimiter that is none, or that the format cannot have.
fn check_delimiter(given: &Params, params: &IngestParams) -> Result<(), CheckError> {
    let text = given.text("delimiter");
    let message = match (delimiter(text), params.layout.format) {
        (None, _) if text == "auto" => return Ok(()),
        (None, _) => format!(
            "`delimiter` is `{text}`, expected one ASCII character other than a quotation mark, \
             `tab` or `auto`"
        ),
        (Some(found), FormatChoice::Tsv) if found != b'\t' => {
            format!("`format: tsv` has tabs, not `{text}`: set `format: csv`")
        }
        (Some(_), FormatChoice::Auto | FormatChoice::Csv | FormatChoice::Tsv) => return Ok(()),
        (Some(_), _) => format!("`format: {}` has no `delimiter`", given.text("format")),
    };
    Err(CheckError { name: Some("delimiter"), message })
}

fn check_encoding(given: &Params) -> Result<(), CheckError> {
    let name = given.text("encoding");
    if name == "auto" || encoding(name).is_some() {
        return Ok(());
    }
    let known = list_names(name, COMMON_ENCODINGS);
    let message = format!("`encoding` is `{name}`, which is none that is known, such as {known}");
    Err(CheckError { name: Some("encoding"), message })
}

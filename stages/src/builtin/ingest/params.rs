//! The parameters of `ingest`.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::marks::Mark;
use encoding_rs::Encoding;

use crate::data::data_file::decode::encoding;
use crate::data::task::Task;
use crate::stage::choice::choice;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};

choice! {
    /// The format of the inputs.
    pub enum FormatChoice {
        /// Detected from the content.
        Auto = "auto",
        Jsonl = "jsonl",
        Json = "json",
        Csv = "csv",
        Tsv = "tsv",
        Parquet = "parquet",
        Arrow = "arrow",
    }
}

choice! {
    /// What happens at a malformed row.
    pub enum OnError {
        Fail = "fail",
        Skip = "skip",
    }
}

choice! {
    /// What happens to white space.
    pub enum Spaces {
        Keep = "keep",
        Collapse = "collapse",
    }
}

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "format",
        ParamKind::Choice(FormatChoice::WORDS),
        Default::Text("auto"),
        "the format of the inputs; `auto` detects it from their content. JSON is one list of objects, Arrow a file or a stream. \
              CSV is any text of cells, separated by the `delimiter`, in which quotation marks are \
              special; in TSV they are not. Inputs that gzip, zstd or bzip2 have compressed are \
              decompressed",
    ),
    ParamSpec::new(
        "delimiter",
        ParamKind::Text,
        Default::Text("auto"),
        "the character that separates the cells of CSV, or `tab`; `auto` takes a comma, a \
              semicolon, `|` or a tab, whichever the header shows",
    ),
    ParamSpec::new(
        "header",
        ParamKind::Bool,
        Default::Bool(true),
        "whether the first record of CSV and TSV names the columns; without a header the names \
              are the columns' numbers, `\"1\"`, `\"2\"` and so on",
    ),
    ParamSpec::new(
        "encoding",
        ParamKind::Text,
        Default::Text("auto"),
        "the encoding of the inputs, for instance `windows-1252`, `shift_jis` or `utf-16le`; `auto` \
              reads UTF-8, and UTF-16 that begins with its mark",
    )
    .late(),
    ParamSpec::new(
        "text_field",
        ParamKind::Text,
        Default::Text("response"),
        "the field with the text to classify; every row must have it. A field in a JSON object is named \
              by its path, `tweet.full_text`, as are the other fields",
    ),
    ParamSpec::new(
        "label_field",
        ParamKind::TextOrNull,
        Default::Text("label"),
        "the field with the label: a text, or a number or a truth value, which is read as text",
    ),
    ParamSpec::new(
        "id_field",
        ParamKind::TextOrNull,
        Default::Text("id"),
        "the field with the row's id, unique within its input; a row without an id gets \
              `<input>_<line>`, for instance `train_17`",
    ),
    ParamSpec::new(
        "context_field",
        ParamKind::TextOrNull,
        Default::Text("context"),
        "the field with the turns before the text, oldest first: a list of texts, or one \
              text; may be absent",
    ),
    ParamSpec::new(
        "context_separator",
        ParamKind::Text,
        Default::Null,
        "splits a context that is one text into turns; without it that text is one turn",
    ),
    ParamSpec::new(
        "labels",
        ParamKind::TextList,
        Default::TextList(&[]),
        "the labels that may occur; an empty list allows any",
    ),
    ParamSpec::new(
        "label_map",
        ParamKind::TextMap,
        Default::EmptyMap,
        "replaces labels before they are checked, for instance `1.0: \"1\"`; an empty text stands for \
              no label",
    ),
    ParamSpec::new(
        "remove",
        ParamKind::TextList,
        Default::TextList(&[]),
        "strings to remove from text and context, in this order; white space around them \
              stays",
    ),
    ParamSpec::new(
        "strip",
        ParamKind::TextList,
        Default::TextList(&[]),
        "kinds of marks to remove from text and context, after `remove`: `links`, `mentions`, `hashtags`, \
              `emoji`, `odd` (control, invisible and undecodable characters)",
    )
    .late(),
    ParamSpec::new(
        "spaces",
        ParamKind::Choice(Spaces::WORDS),
        Default::Text("keep"),
        "what happens to white space in text and context, after `remove` and `strip`: `collapse` makes \
              each run of it one space, and leaves none at the ends",
    )
    .late(),
    ParamSpec::new(
        "require_labels",
        ParamKind::Bool,
        Default::Bool(true),
        "whether every row of `train` must have a label; rows of `test` need none",
    ),
    ParamSpec::new(
        "on_error",
        ParamKind::Choice(OnError::WORDS),
        Default::Text("fail"),
        "what happens at a malformed row: `fail` fails the stage, `skip` leaves the row out \
              and writes it to the output `skipped`",
    ),
    ParamSpec::new(
        "task",
        ParamKind::Choice(Task::WORDS),
        Default::Text("single"),
        "what a label is: `single` one of several, `multi` any number of several, `regression` a number. The \
              later stages see it from the data",
    )
    .late(),
    ParamSpec::new(
        "label_separator",
        ParamKind::Text,
        Default::Null,
        "`task: multi` only: what separates the labels in a text, for instance `;`; an empty text has \
              none of the labels. Without it the labels are a JSON list",
    )
    .late(),
    ParamSpec::new(
        "label_fields",
        ParamKind::TextList,
        Default::TextList(&[]),
        "`task: multi` only: the fields that are labels, each with 1 if the text has the label, or 0; \
              they replace `label_field`",
    )
    .late(),
];

/// The parameters of `ingest`, parsed.
#[derive(Clone, Debug)]
pub struct IngestParams {
    pub layout: LayoutParams,
    pub text_field: String,
    pub label_field: Option<String>,
    pub id_field: Option<String>,
    pub context_field: Option<String>,
    /// Splits a context that is one text into turns.
    pub context_separator: Option<String>,
    /// Empty: any label is allowed.
    pub labels: BTreeSet<String>,
    /// From a label of the input to the label that is meant.
    pub label_map: BTreeMap<String, String>,
    pub remove: Vec<String>,
    pub strip: Vec<Mark>,
    pub spaces: Spaces,
    pub require_labels: bool,
    pub on_error: OnError,
    pub form: LabelForm,
}

/// What a label is, and how several are written.
#[derive(Clone, Debug)]
pub struct LabelForm {
    pub task: Task,
    /// Separates labels in one text.
    pub separator: Option<String>,
    /// Fields that are labels; if any, there is no `label_field`.
    pub fields: Vec<String>,
}

/// How the inputs are laid out.
#[derive(Clone, Copy, Debug)]
pub struct LayoutParams {
    pub format: FormatChoice,
    /// `None`: detected from the content.
    pub delimiter: Option<u8>,
    pub header: bool,
    /// `None`: UTF-8, or UTF-16 with its mark.
    pub encoding: Option<&'static Encoding>,
}

impl IngestParams {
    pub fn of(params: &Params) -> IngestParams {
        let label_fields = params.texts("label_fields");
        let label_field = params.optional_text("label_field").filter(|_| label_fields.is_empty());
        IngestParams {
            layout: LayoutParams {
                format: FormatChoice::of(params, "format"),
                delimiter: delimiter(params.text("delimiter")),
                header: params.bool("header"),
                encoding: encoding(params.text("encoding")),
            },
            text_field: params.text("text_field").to_owned(),
            label_field: label_field.map(str::to_owned),
            id_field: params.optional_text("id_field").map(str::to_owned),
            context_field: params.optional_text("context_field").map(str::to_owned),
            context_separator: params.optional_text("context_separator").map(str::to_owned),
            labels: params.texts("labels").into_iter().collect(),
            label_map: params.text_map("label_map"),
            remove: params.texts("remove"),
            strip: params.texts("strip").iter().filter_map(|name| Mark::named(name)).collect(),
            spaces: Spaces::of(params, "spaces"),
            require_labels: params.bool("require_labels"),
            on_error: OnError::of(params, "on_error"),
            form: LabelForm {
                task: Task::of(params, "task"),
                separator: params.optional_text("label_separator").map(str::to_owned),
                fields: label_fields,
            },
        }
    }

    /// The turns of a context that is given as one text; none if it is empty.
    pub fn turns(&self, context: &str) -> Vec<String> {
        match &self.context_separator {
            _ if context.is_empty() => Vec::new(),
            Some(separator) => context.split(separator.as_str()).map(str::to_owned).collect(),
            None => vec![context.to_owned()],
        }
    }
}

/// The delimiter that a text names: one ASCII character, or `tab`. `None` for other texts, of which
/// only `auto` is allowed.
pub fn delimiter(text: &str) -> Option<u8> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Some(b'\t'),
        // These characters have a meaning of their own.
        [byte] if byte.is_ascii() && !b"\r\n\"".contains(byte) => Some(*byte),
        _ => None,
    }
}

/// A text that [`delimiter`] takes for this byte.
pub fn delimiter_text(byte: u8) -> String {
    if byte == b'\t' { "tab".to_owned() } else { char::from(byte).to_string() }
}

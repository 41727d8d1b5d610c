//! `pipe init`: writes a commented pipeline for the user's data and reports what it guessed.

use std::path::{Path, PathBuf};

use clap::Args;
use stages::builtin::ingest::layout::DataFormat;
use stages::builtin::ingest::params;
use stages::data::data_file::decode::{COMMON_ENCODINGS, encoding};
use stages::data::nearest::list_names;
use stages::data::task::Task;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::init_data::{files, found};
use crate::cli::options::Globals;
use crate::cli::project::store;
use crate::console::Console;
use crate::files::file_error::FileError;
use crate::files::scratch;
use crate::init::InitError;
use crate::init::auditing::DECISIONS;
use crate::init::proposal::propose;
use crate::init::recipe;
use crate::init::template;
use crate::init::told::Told;
use crate::init::wanted::Wanted;
use crate::pipeline::PIPELINE_FILE;

#[derive(Debug, Args)]
pub struct InitOptions {
    /// Labelled examples: JSONL, JSON, CSV, TSV, Parquet or Arrow, compressed or not, or a file of a data set of
    /// the hub, `hub:datasets/owner/name@revision/path`. Several files, or a pattern such as `'data/*.parquet'`,
    /// are read in the order of their names. Default: the only
    /// such file here, or of two files the one named `train…` if the other is named `test…`
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Examples to classify with the trained model. If they are labelled, the answers are scored
    #[arg(long, value_name = "FILE", num_args = 1..)]
    test: Vec<PathBuf>,
    /// The field that holds the text. Without a header, fields are numbered from 1
    #[arg(long, alias = "text-field", value_name = "FIELD")]
    text: Option<String>,
    /// The field that holds the label, or the fields that are labels, each 0 or 1: `anger,joy`
    #[arg(long, alias = "label-field", value_name = "FIELD")]
    label: Option<String>,
    /// What a text has: one label (`single`), any number of them (`multi`) or a number (`regression`).
    /// Default: as the labels are
    #[arg(long, value_name = "TASK", value_parser = task)]
    task: Option<Task>,
    /// What separates the labels of a text, for instance `;`
    #[arg(long, value_name = "TEXT")]
    label_separator: Option<String>,
    /// The field that holds the row's id
    #[arg(long, alias = "id-field", value_name = "FIELD")]
    id: Option<String>,
    /// The field that holds the earlier turns of the conversation
    #[arg(long, alias = "context-field", value_name = "FIELD")]
    context: Option<String>,
    #[command(flatten)]
    layout: LayoutOptions,
    /// What to do about rows that cannot be used: `fail` refuses the data, `skip` leaves them out
    #[arg(long, value_name = "ACTION", default_value = "fail", value_parser = ["fail", "skip"])]
    on_error: String,
    /// The model to fine-tune: a folder or `hub:owner/name`. Default: none, an n-gram baseline
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Audit the labels first: out-of-fold predictions, suspicious labels and texts, and a stage that
    /// carries out your decisions
    #[arg(long)]
    audit: bool,
    /// Where to write the pipeline. Default: `--file`, or `pipeline.yaml` here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How the data is laid out.
#[derive(Debug, Args)]
struct LayoutOptions {
    /// The format of the data: `jsonl`, `json`, `csv`, `tsv`, `parquet` or `arrow`. Default: as its content shows
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<DataFormat>,
    /// The encoding of the data, for instance `windows-1252`. Default: UTF-8, or UTF-16 with its mark
    #[arg(long, value_name = "ENCODING", value_parser = encoding_name)]
    encoding: Option<String>,
    /// The character that separates cells, or `tab`. Default: as the content shows
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<String>,
    /// The first row names the columns
    #[arg(long)]
    header: bool,
    /// The first row is data
    #[arg(long, conflicts_with = "header")]
    no_header: bool,
}

pub fn execute(options: &InitOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let out = options.out.clone().or_else(|| globals.file.clone());
    let out = absolute(&out.unwrap_or_else(|| PIPELINE_FILE.into()))?;
    if out.symlink_metadata().is_ok() {
        return Err(InitError::Exists { path: out }.into());
    }
    let folder = out.parent().unwrap_or(Path::new("/"));
    let (data, test) = files(&options.data, &options.test)?;
    let store = store(globals, folder)?;
    let find = |data: &[PathBuf]| found(data, folder, &store, console);
    let data = find(&data)?;
    let test = if test.is_empty() { None } else { Some(find(&test)?) };
    let told = Told {
        text: options.text.clone(),
        label: options.label.clone(),
        id: options.id.clone(),
        context: options.context.clone(),
        format: options.layout.format,
        encoding: options.layout.encoding.clone(),
        delimiter: options.layout.delimiter.as_deref().and_then(params::delimiter),
        task: options.task,
        separator: options.label_separator.clone(),
        header: (options.layout.header || options.layout.no_header)
            .then_some(options.layout.header),
        skip: options.on_error == "skip",
    };
    let proposal = propose(&data.files, test.as_ref().map(|test| &test.files), &told)?;
    let task = proposal.fields.task;
    if options.audit && task != Task::Single {
        return Err(
            InitError::NotAudited { path: data.files.name, found: task.labels_in_words() }.into()
        );
    }
    let model = options.model.as_deref().map(|model| model_source(model, folder)).transpose()?;
    let wanted = Wanted {
        proposal: &proposal,
        data: &data.written,
        test: test.as_ref().map(|test| &test.written[..]),
        model: model.as_deref(),
        width: options.model.as_deref().map_or(0, recipe::width),
        audit: options.audit,
    };
    let yaml = template::pipeline(&wanted);
    scratch::write_new_beside(&out, yaml.as_bytes())?;
    let decisions = folder.join(DECISIONS);
    // Decisions that exist already are somebody's work.
    if options.audit && decisions.symlink_metadata().is_err() {
        scratch::write_new_beside(&decisions, b"")?;
    }

    console.note(template::about(&wanted).trim_end());
    let shown = out.strip_prefix(std::env::current_dir().unwrap_or_default()).unwrap_or(&out);
    let next = if options.audit { "`pipe review`" } else { "`pipe log`" };
    console.note(&format!("wrote {}; next: `pipe run`, then {next}", shown.display()));
    if options.model.is_none() {
        console.note(
            "a pretrained model does better: `pipe init --model hub:owner/name`, or a folder",
        );
    }
    Ok(Exit::Done)
}

fn format(text: &str) -> Result<DataFormat, String> {
    let found = DataFormat::ALL.into_iter().find(|format| format.name() == text);
    let names = DataFormat::ALL.map(DataFormat::name);
    found.ok_or_else(|| format!("expected {}", list_names(text, names)))
}

fn task(text: &str) -> Result<Task, String> {
    let known = || list_names(text, Task::WORDS.iter().copied());
    Task::of_word(text).ok_or_else(|| format!("expected {}", known()))
}

fn encoding_name(text: &str) -> Result<String, String> {
    match encoding(text) {
        Some(_) => Ok(text.to_owned()),
        None => {
            Err(format!("expected an encoding, such as {}", list_names(text, COMMON_ENCODINGS)))
        }
    }
}

/// Checks that the parameter of `ingest` takes a delimiter.
fn delimiter(text: &str) -> Result<String, String> {
    match text == "auto" || params::delimiter(text).is_some() {
        true => Ok(text.to_owned()),
        false => {
            Err("expected one ASCII character other than a quotation mark, or `tab`".to_owned())
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    Ok(std::path::absolute(path).map_err(FileError::at("locating", path))?)
}

fn model_source(model: &str, folder: &Path) -> Result<String, Error> {
    if model.starts_with("hub:") {
        return Ok(model.to_owned());
    }
    let path = Path::new(model);
    std::fs::metadata(path).map_err(FileError::at("opening", path))?;
    Ok(template::source(path, folder)?)
}

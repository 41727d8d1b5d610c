//! `pipe classify`: classifies texts with a trained model, the pipeline's or any model folder.

pub mod found_model;
mod queue;
mod source;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::PossibleValuesParser;
use stages::builtin::classify::TextClassifier;
use stages::builtin::ingest::params::IngestParams;
use stages::builtin::ingest::texts::cleaned;
use stages::data::example::Example;
use stages::model::precision::Precision;
use stages::{Params, StageError};

use self::found_model::find_model;
use self::queue::{Line, Queue};
use self::source::{InputFormat, Source};
use crate::cli::carry_out::device;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::console::Console;
use crate::console::classified_view::{ClassifiedRow, ClassifiedView};
use crate::files::file_error::FileError;

#[derive(Debug, Args)]
pub struct ClassifyOptions {
    /// The texts. Without any and without `--input`, standard input is read
    text: Vec<String>,
    /// Files of texts, or a pattern such as `'data/*.jsonl'`; `-` is standard input
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "text")]
    input: Vec<PathBuf>,
    /// The format of the files: `plain` is one text per line, `fields` is any format of `ingest`, with
    /// the fields that `ingest` reads (`--set ingest.text_field=NAME` names another one)
    #[arg(long, value_name = "FORMAT", default_value = "auto", conflicts_with = "text")]
    format: InputFormat,
    /// The model: `stage:output` or a folder, which needs no pipeline. Default: the only model of
    /// the pipeline
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// An earlier turn of the conversation. Repeat it for more turns, oldest first. Without a
    /// pipeline the model reads all turns
    #[arg(long, value_name = "TURN")]
    context: Vec<String>,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Where the model runs: `auto`, `cpu`, `cuda`, `cuda:N`, `vulkan` or `vulkan:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    device: String,
    /// The number format of matrix products, instead of that of the pipeline's `predict`. `int8` is
    /// faster on a CPU
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(Precision::WORDS))]
    precision: Option<String>,
    /// Print one JSON object per text
    #[arg(long)]
    json: bool,
}

pub fn execute(
    options: &ClassifyOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let overrides = options.overrides.overrides();
    let wanted = options.model.as_deref();
    let found = find_model(wanted, globals, &overrides, console)?;
    let found = found.with_precision(options.precision.as_deref());
    check_context(&options.context, &found.tokenize, console)?;
    let source = Source::open(&options.text, &options.input, options.format)?;
    let (classifier, ingest) = found.open(&options.device)?;
    if source.is_typed() {
        console.note(&format!("on {}; type one text per line, Ctrl-D ends", classifier.device));
    }
    let whole = source.gives_whole_batches();
    let queue = read_in_background(source, &ingest, console)?;
    let (mut cut, mut all) = (0, 0);
    while let Some(lines) = queue.next(whole).map_err(failed)? {
        let (rows, cut_here) = answer(lines, &classifier, &ingest, &options.context)?;
        (cut, all) = (cut + cut_here, all + rows.len() as u64);
        if !console.print_part(&ClassifiedView { rows: &rows }, options.json)? {
            break;
        }
    }
    if let Some(message) = classifier.cut_texts(cut, all) {
        console.note(&message);
    }
    Ok(Exit::Done)
}

fn failed(error: StageError) -> Error {
    Error::Classify(Box::new(error))
}

/// Refuses a context that the model would not see.
fn check_context(context: &[String], tokenize: &Params, console: &Console) -> Result<(), Error> {
    // `None` means all turns.
    match tokenize.optional_int("context") {
        Some(0) if !context.is_empty() => Err(Error::ContextUnused),
        Some(turns) if turns < context.len() as i64 => {
            console.warning(&format!(
                "the model reads the last {turns} of {} turns: `tokenize` has `context: {turns}`",
                context.len()
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Starts a thread that reads the texts. It ends with the program.
fn read_in_background(
    source: Source,
    ingest: &IngestParams,
    console: &Console,
) -> Result<Arc<Queue>, Error> {
    let queue = Arc::new(Queue::new());
    let (filled, ingest, console) = (Arc::clone(&queue), ingest.clone(), *console);
    let read = move || source.read_into(&filled, &ingest, &console);
    std::thread::Builder::new()
        .spawn(read)
        .map_err(FileError::at("starting a thread to read", Path::new("the texts")))?;
    Ok(queue)
}

/// The lines with their predictions, and how many of them were cut. A blank line has no prediction.
fn answer(
    lines: Vec<Line>,
    classifier: &TextClassifier,
    ingest: &IngestParams,
    context: &[String],
) -> Result<(Vec<ClassifiedRow>, u64), Error> {
    let prepared = |mut text: Example| {
        if text.context.is_empty() {
            text.context = context.to_vec();
        }
        cleaned(text, ingest)
    };
    let texts: Vec<Example> = lines.iter().flatten().cloned().map(prepared).collect();
    let (predictions, cut) = classifier.classify(&texts).map_err(failed)?;
    let mut predictions = predictions.into_iter();
    let row = |line: Line| match line {
        Some(text) => (text, predictions.next()),
        None => (Example::default(), None),
    };
    Ok((lines.into_iter().map(row).collect(), cut))
}

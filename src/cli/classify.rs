//! `pipe classify`: classifies texts with a trained model, the pipeline's or any model folder.

mod found_model;

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use stages::builtin::classify::TextClassifier;
use stages::builtin::ingest::params::IngestParams;
use stages::builtin::ingest::texts::{Texts, cleaned};
use stages::data::data_file::DataFile;
use stages::data::example::Example;
use stages::data::prediction::Prediction;

use self::found_model::{FoundModel, find_model};
use crate::cli::carry_out::device;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::console::Console;
use crate::console::classified_view::ClassifiedView;
use crate::files::file_error::FileError;

#[derive(Debug, Args)]
pub struct ClassifyOptions {
    /// The texts. Without any and without `--input`, standard input is read, one text per line
    text: Vec<String>,
    /// A file of texts
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    input: Option<PathBuf>,
    /// The format of the file: `plain` is one text per line, `fields` is JSONL, CSV or TSV with
    /// the fields that `ingest` reads
    #[arg(long, value_name = "FORMAT", default_value = "auto", requires = "input")]
    format: InputFormat,
    /// The model: `stage:output` or a folder. Default: the model that `predict` reads
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// An earlier turn of the conversation. Repeat it for more turns, oldest first
    #[arg(long, value_name = "TURN")]
    context: Vec<String>,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Where the model runs: `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    device: String,
    /// Print one JSON object per text
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    /// `plain` if the name ends in `.txt`, otherwise `fields`
    Auto,
    Plain,
    Fields,
}

/// How many texts of a file are classified at once.
const CHUNK: usize = 512;

pub fn execute(
    options: &ClassifyOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let overrides = options.overrides.overrides();
    let wanted = options.model.as_deref();
    let FoundModel { folder, ingest, tokenize, predict } =
        find_model(wanted, globals, &overrides, console)?;
    let failed = |error| Error::Classify(Box::new(error));
    let classifier = TextClassifier::open(&folder.path(), &tokenize, &predict, &options.device)
        .map_err(failed)?;
    let ingest = IngestParams::of(&ingest);
    let classify = |texts: Vec<Example>| {
        let shown = texts.clone();
        let cleaned: Vec<Example> = texts
            .into_iter()
            .map(|mut text| {
                if text.context.is_empty() {
                    text.context.clone_from(&options.context);
                }
                cleaned(text, &ingest)
            })
            .collect();
        let predictions = classifier.classify(&cleaned).map_err(failed)?;
        let rows: Vec<(Example, Prediction)> = shown.into_iter().zip(predictions).collect();
        Ok::<(), Error>(console.print(&ClassifiedView { rows: &rows }, options.json)?)
    };
    if !options.text.is_empty() {
        classify(options.text.iter().map(|text| Example::of_text(text)).collect())?;
    } else if let Some(file) = &options.input {
        let opened = DataFile::open(file).and_then(|data| match is_plain(options.format, file) {
            true => Texts::plain(data),
            false => Texts::fields(data, &ingest),
        });
        let plain = is_plain(options.format, file);
        let mut texts = opened.map_err(failed)?;
        loop {
            let chunk = texts.by_ref().take(CHUNK).collect::<Result<Vec<_>, _>>();
            let chunk = chunk.map_err(failed)?;
            if chunk.is_empty() {
                break;
            }
            classify(chunk.into_iter().filter(|it| !plain || !it.text.is_empty()).collect())?;
        }
    } else {
        let stdin = std::io::stdin().lock();
        let asks = std::io::stdin().is_terminal();
        if asks {
            console.note(&format!("on {}; type one text per line, Ctrl-D ends", classifier.device));
        }
        for line in stdin.lines() {
            let line = line.map_err(FileError::at("reading", Path::new("standard input")))?;
            if !line.trim().is_empty() {
                classify(vec![Example::of_text(line.trim_end())])?;
            }
        }
    }
    Ok(Exit::Done)
}

fn is_plain(format: InputFormat, file: &Path) -> bool {
    match format {
        InputFormat::Plain => true,
        InputFormat::Fields => false,
        InputFormat::Auto => file.extension().is_some_and(|it| it.eq_ignore_ascii_case("txt")),
    }
}

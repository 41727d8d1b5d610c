//! `pipe init`: writes a commented pipeline for the user's data and reports what it guessed.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::console::Console;
use crate::files::file_error::FileError;
use crate::files::scratch;
use crate::init::InitError;
use crate::init::guess::{self, Told};
use crate::init::recipe;
use crate::init::survey::Survey;
use crate::init::template::{self, Wanted};
use crate::pipeline::PIPELINE_FILE;

#[derive(Debug, Args)]
pub struct InitOptions {
    /// Labelled examples: JSONL, CSV or TSV. Default: the only such file here, or of two files the
    /// one named `train…` if the other is named `test…`
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Examples to classify with the trained model
    #[arg(long, value_name = "FILE")]
    test: Option<PathBuf>,
    /// The field that holds the text
    #[arg(long, value_name = "FIELD")]
    text: Option<String>,
    /// The field that holds the label
    #[arg(long, value_name = "FIELD")]
    label: Option<String>,
    /// The field that holds the row's id
    #[arg(long, value_name = "FIELD")]
    id: Option<String>,
    /// The field that holds the earlier turns of the conversation
    #[arg(long, value_name = "FIELD")]
    context: Option<String>,
    /// The model to fine-tune: a folder or `hub:owner/name`. Default: none, an n-gram baseline
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Where to write the pipeline. Default: `--file`, or `pipeline.yaml` here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn execute(options: &InitOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let out = options.out.clone().or_else(|| globals.file.clone());
    let out = absolute(&out.unwrap_or_else(|| PIPELINE_FILE.into()))?;
    if out.symlink_metadata().is_ok() {
        return Err(InitError::Exists { path: out }.into());
    }
    let folder = out.parent().unwrap_or(Path::new("/"));
    let (data, test) = files(options)?;
    let survey = Survey::of(&data)?;
    let told = Told {
        text: options.text.clone(),
        label: options.label.clone(),
        id: options.id.clone(),
        context: options.context.clone(),
    };
    let fields = guess::fields(&survey, &told, &data)?;
    let test = test.as_deref().map(|test| {
        std::fs::metadata(test).map_err(FileError::at("opening", test))?;
        Ok::<_, Error>(template::source(&absolute(test)?, folder))
    });
    let test = test.transpose()?;
    let model = options.model.as_deref().map(|model| model_source(model, folder)).transpose()?;
    let wanted = Wanted {
        survey: &survey,
        fields: &fields,
        data: &template::source(&absolute(&data)?, folder),
        test: test.as_deref(),
        model: model.as_deref(),
        width: options.model.as_deref().map_or(0, recipe::width),
    };
    let yaml = template::pipeline(&wanted);
    scratch::write_new_beside(&out, yaml.as_bytes())?;

    console.note(template::about(&wanted).trim_end());
    let shown = out.strip_prefix(std::env::current_dir().unwrap_or_default()).unwrap_or(&out);
    console.note(&format!("wrote {}; next: `pipe run`, then `pipe log`", shown.display()));
    if options.model.is_none() {
        console.note(
            "a pretrained model does better: `pipe init --model hub:owner/name`, or a folder",
        );
    }
    Ok(Exit::Done)
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    Ok(std::path::absolute(path).map_err(FileError::at("locating", path))?)
}

/// The file to train on and the one to classify: as named, or guessed from this folder's files.
fn files(options: &InitOptions) -> Result<(PathBuf, Option<PathBuf>), Error> {
    if let Some(data) = &options.data {
        return Ok((data.clone(), options.test.clone()));
    }
    let here = Path::new(".");
    let entries = std::fs::read_dir(here).map_err(FileError::at("reading", here))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(PathBuf::from(entry.ok()?.file_name())))
        .filter(|path| {
            let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
            let is_data =
                ["jsonl", "csv", "tsv"].contains(&extension.to_ascii_lowercase().as_str());
            is_data && options.test.as_ref() != Some(path)
        })
        .collect();
    found.sort();
    let called =
        |path: &&PathBuf, name: &str| path.to_string_lossy().to_ascii_lowercase().starts_with(name);
    match &found[..] {
        [only] => return Ok((only.clone(), options.test.clone())),
        [test, train] if called(&test, "test") && called(&train, "train") => {
            let test = options.test.clone().unwrap_or_else(|| test.clone());
            return Ok((train.clone(), Some(test)));
        }
        _ => {}
    }
    let names: Vec<String> = found.iter().map(|path| format!("`{}`", path.display())).collect();
    let found = match names.is_empty() {
        true => "there is no .jsonl, .csv or .tsv file here".to_owned(),
        false => format!("there are {}", names.join(", ")),
    };
    Err(InitError::NoData { found }.into())
}

fn model_source(model: &str, folder: &Path) -> Result<String, Error> {
    if model.starts_with("hub:") {
        return Ok(model.to_owned());
    }
    let path = Path::new(model);
    std::fs::metadata(path).map_err(FileError::at("opening", path))?;
    Ok(template::source(&absolute(path)?, folder))
}

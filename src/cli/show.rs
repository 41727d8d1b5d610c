//! `pipe show STAGE:OUTPUT`: an artifact in readable form.

use clap::Args;
use stages::model::ModelConfig;
use stages::text::TextTokenizer;

use crate::cli::cache::check_intact;
use crate::cli::project::Project;
use crate::cli::{Globals, OverrideOptions};
use crate::console::Console;
use crate::console::text::WIDTH;
use crate::error::Error;
use crate::exit::Exit;
use crate::file_error::FileError;
use crate::key::ActionField;
use crate::pipeline::Stage;
use crate::record::Record;
use crate::run::prepare::link_artifact;
use crate::show::{self, show, show_tokens};

#[derive(Debug, Args)]
pub struct ShowOptions {
    /// `stage:output`, or the beginning of a key or a digest
    artifact: String,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How many rows, lines, tensors or files
    #[arg(long, value_name = "N", default_value_t = 10)]
    rows: usize,
}

pub fn execute(options: &ShowOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let project = Project::load(globals, &options.overrides.overrides())?;
    let (record, output) = project.find(&options.artifact, console)?;
    let (output, artifact) = record.output(output, &options.artifact)?;
    // Objects have no names; the view knows a file by its own, and a folder as one.
    let folder = tempfile::tempdir().map_err(FileError::at("making", &std::env::temp_dir()))?;
    let stage = project.pipeline.stages.iter().find(|stage| stage.name == record.stage);
    let declared = stage.and_then(|stage| stage.output(&output));
    let link = folder.path().join(declared.map_or("artifact", |output| output.file.as_str()));
    check_intact(&project.store, artifact.content)?;
    link_artifact(artifact.content, &link, &project.store)?;
    let options = show::ShowOptions { width: WIDTH, rows: options.rows, json: options.json };
    if is_tokens(&record, &output) {
        let tokenizer = stage.and_then(|stage| tokenizer_of(stage, &project));
        // What cannot be read as tokens is shown as the file that it is.
        if let Ok(text) = show_tokens(&link, tokenizer.as_ref(), &options) {
            console.data(&text)?;
            return Ok(Exit::Done);
        }
    }
    let mut text = Vec::new();
    show(&link, &options, &mut text)?;
    console.bytes(&text)?;
    Ok(Exit::Done)
}

fn is_tokens(record: &Record, output: &str) -> bool {
    let by_tokenize = match &record.fields.action {
        ActionField::Builtin { name, .. } => name == "tokenize",
        ActionField::Command { .. } => false,
    };
    by_tokenize && output != "report"
}

/// The tokenizer that the stage reads, if it is at hand and the stage is up to date with it.
fn tokenizer_of(stage: &Stage, project: &Project) -> Option<TextTokenizer> {
    let source = project.sources(true, true).find(stage.inputs.get("model")?).ok()??;
    TextTokenizer::open(&source.path, &ModelConfig::read(&source.path).ok()?).ok()
}

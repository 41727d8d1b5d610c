//! `pipe show STAGE:OUTPUT`: prints an artifact in readable form.

use clap::Args;
use stages::model::config::ModelConfig;
use stages::text::TextTokenizer;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::linked::LinkedArtifact;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::Project;
use crate::console::Console;
use crate::pipeline::Stage;
use crate::results::show::{self, show, show_tokens};
use crate::text::terminal::WIDTH;

#[derive(Debug, Args)]
pub struct ShowOptions {
    /// `stage:output`, a stage with one output, or the beginning of a key or digest
    pub(super) artifact: String,
    #[command(flatten)]
    pub(super) overrides: OverrideOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How many rows, lines, tensors or files to show
    #[arg(long, value_name = "N", default_value_t = 10)]
    rows: usize,
}

pub fn execute(options: &ShowOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let project = Project::load_for_results(globals, &options.overrides.overrides())?;
    let (record, output) = project.find(&options.artifact, console)?;
    let (output, artifact) = record.output(output, &options.artifact)?;
    let stage = project.pipeline.stages.iter().find(|stage| stage.name == record.stage);
    let declared = stage.and_then(|stage| stage.output(&output));
    // Objects have no file names, but the view tells formats apart by them.
    let name = declared.map_or("artifact", |output| output.file.as_str());
    let linked = LinkedArtifact::new(artifact.content, name, &project.store)?;
    let options = show::ShowOptions { width: WIDTH, rows: options.rows, json: options.json };
    if record.fields.action.builtin() == Some("tokenize") && output != "report" {
        let tokenizer = stage.and_then(|stage| tokenizer_of(stage, &project));
        // An output that is no token file is shown as any other file.
        if let Ok(text) = show_tokens(linked.path(), tokenizer.as_ref(), &options) {
            if options.json {
                console.json(&text)?
            } else {
                console.data(&text)?
            }
            return Ok(Exit::Done);
        }
    }
    let mut text = Vec::new();
    show(linked.path(), &options, &mut text)?;
    let text = String::from_utf8_lossy(&text);
    if options.json {
        console.json(&text)?
    } else {
        console.data(&text)?
    }
    Ok(Exit::Done)
}

/// The tokenizer that the stage reads, if it is on this machine.
fn tokenizer_of(stage: &Stage, project: &Project) -> Option<TextTokenizer> {
    let source = project.sources(true, true).find(stage.inputs.get("model")?).ok()??;
    TextTokenizer::open(&source.path, ModelConfig::read(&source.path).ok()?.family).ok()
}

//! `pipe graph`: draws the stages and the artifacts that pass between them.

use clap::{Args, ValueEnum};

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::Project;
use crate::console::Console;
use crate::plan::drawing::{Format, render};

#[derive(Debug, Args)]
pub struct GraphOptions {
    #[command(flatten)]
    overrides: OverrideOptions,
    /// `text` for a terminal, `dot` for Graphviz, `mermaid` for a web page
    #[arg(long, value_enum, default_value = "text")]
    format: GraphFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum GraphFormat {
    Text,
    Dot,
    Mermaid,
}

pub fn execute(
    options: &GraphOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let project = Project::load(globals, &options.overrides.overrides())?;
    let format = match options.format {
        GraphFormat::Text if globals.verbose => Format::LongText,
        GraphFormat::Text => Format::Text,
        GraphFormat::Dot => Format::Dot,
        GraphFormat::Mermaid => Format::Mermaid,
    };
    console.data(&render(&project.pipeline, &project.graph, format))?;
    Ok(Exit::Done)
}

//! `pipe show STAGE:OUTPUT`: an artifact in readable form.

use clap::Args;

use crate::cli::project::Project;
use crate::cli::{Globals, OverrideOptions};
use crate::console::Console;
use crate::error::Error;
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct ShowOptions {
    /// `stage:output`
    artifact: String,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How many rows of each file
    #[arg(long, value_name = "N", default_value_t = 10)]
    rows: usize,
}

pub fn execute(options: &ShowOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let project = Project::load(globals, &options.overrides.overrides())?;
    let found = project.find(&options.artifact, console)?;
    let _ = (found, options.json, options.rows);
    Ok(Exit::Done)
}

//! `pipe diff RUN RUN`: compares parameters, inputs and metrics of two runs.

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::{Project, locate};
use crate::console::Console;
use crate::console::log_view::DiffView;
use crate::plan::reason::origin;
use crate::results::run_diff::diff;
use crate::results::run_log::find::find;

#[derive(Debug, Args)]
pub struct DiffOptions {
    /// The first run: an id of `pipe log` or its beginning, `last`, `last~1`, or a Git branch
    #[arg(value_name = "RUN", default_value = "last~1")]
    from: String,
    /// The second run
    #[arg(value_name = "RUN", default_value = "last")]
    to: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn execute(options: &DiffOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let (_, store) = locate(globals)?;
    let from = find(&store, &options.from)?;
    let to = find(&store, &options.to)?;
    // The log does not tell where inputs come from; the current pipeline does, if it is valid.
    let project = Project::load_for_results(globals, &OverrideOptions::default().overrides()).ok();
    let origin = |stage: &str, input: &str| {
        project.as_ref()?.pipeline.stage(stage)?.inputs.get(input).map(origin)
    };
    let diff = diff(&from, &to, &store, &origin);
    console.print(&DiffView { diff: &diff, from: &from, to: &to }, options.json)?;
    Ok(Exit::Done)
}

//! `pipe status`: prints the plan of all stages.

use std::collections::BTreeSet;

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::Project;
use crate::console::Console;
use crate::console::plan_view::PlanView;
use crate::store::index::left_out;

#[derive(Debug, Args)]
pub struct StatusOptions {
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Print one JSON object per stage
    #[arg(long)]
    json: bool,
}

pub fn execute(
    options: &StatusOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let project = Project::load(globals, &options.overrides.overrides())?;
    let selected = project.select(&[])?;
    let sources = project.sources(true, false);
    let plan = project.plan(&selected, &BTreeSet::new(), &sources)?;
    for link in sources.index.dangling() {
        console.warning(&left_out(&link));
    }
    let view = PlanView { plan: &plan, pipeline: &project.pipeline, forecast: false };
    console.print(&view, options.json)?;
    Ok(Exit::Done)
}

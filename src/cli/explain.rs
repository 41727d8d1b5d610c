//! `pipe explain STAGE`: why a stage would run or when its result was made, and what enters its key.

use std::collections::BTreeSet;

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::Project;
use crate::console::Console;
use crate::console::explanation::ExplanationView;

#[derive(Debug, Args)]
pub struct ExplainOptions {
    /// The stage
    stage: String,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn execute(
    options: &ExplainOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let project = Project::load(globals, &options.overrides.overrides())?;
    let index = project.stage_index(&options.stage)?;
    let selected = project.graph.upstream(&[index]);
    let sources = project.sources(true, false);
    let plan = project.plan(&selected, &BTreeSet::new(), &sources)?;
    if let Some(planned) = plan.stages.iter().find(|planned| planned.stage == index) {
        let (stage, store) = (&project.pipeline[index], &project.store);
        console.print(&ExplanationView { planned, stage, store }, options.json)?;
    }
    Ok(Exit::Done)
}

//! `pipe why-row ID`: traces one prediction back to its source.

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::Project;
use crate::console::Console;
use crate::console::why_row_view::WhyRowView;
use crate::results::why_row::{Evidence, why_row};

#[derive(Debug, Args)]
pub struct WhyRowOptions {
    /// The id of the example
    id: String,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn execute(
    options: &WhyRowOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let project = Project::load_for_results(globals, &options.overrides.overrides())?;
    let sources = project.sources(true, true);
    let evidence = Evidence {
        pipeline: &project.pipeline,
        store: &project.store,
        sources: &sources,
        current: &project.standing(),
    };
    let why = why_row(&options.id, &evidence);
    if why.example.is_none() && why.said.is_empty() && why.others == 0 {
        return Err(Error::NoRow { id: options.id.clone() });
    }
    console.print(&WhyRowView { why: &why }, options.json)?;
    Ok(Exit::Done)
}

//! `pipe run`: the whole flow from the pipeline to the records.

use clap::Args;

use crate::cli::carry_out::{CarryOutOptions, run_log};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::{Project, use_store};
use crate::cli::select::{SelectOptions, Selection, check_only};
use crate::cli::submit::{self, SubmitOptions};
use crate::console::Console;
use crate::console::plan_view::PlanView;
use crate::run::config::RunConfig;

#[derive(Debug, Args)]
pub struct RunOptions {
    #[command(flatten)]
    select: SelectOptions,
    #[command(flatten)]
    pub(super) overrides: OverrideOptions,
    /// Show what would run and why, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// After a failure, continue with the stages that do not depend on it
    #[arg(short, long)]
    keep_going: bool,
    #[command(flatten)]
    submit: SubmitOptions,
    #[command(flatten)]
    pub carry_out: CarryOutOptions,
}

pub fn execute(options: &RunOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let overrides = options.overrides.overrides();
    let mut project = Project::load(globals, &overrides)?;
    options.submit.choose_executors(&mut project.pipeline);
    options.carry_out.choose_executors(&mut project.pipeline);
    let Selection { selected, forced, only, overwrite_published } =
        options.select.select(&project)?;
    let resources = options.carry_out.resources(&project, &selected)?;
    let _in_use = match options.dry_run {
        true => None,
        false => Some(use_store(&project.store, console)?),
    };
    let sources = options.carry_out.sources(&project);
    let plan = project.plan(&selected, &forced, &sources)?;
    if options.submit.submit {
        let (who, view) = ((globals, &overrides, &["run"][..]), (console, options.carry_out.json));
        return submit::execute(&plan, &project, who, &sources, &selected, view);
    }
    let plan = options.submit.plan_in_job(plan, only.as_ref(), &project, &selected, &sources)?;
    if let Some(only) = &only {
        check_only(&plan, only, &project.pipeline, &project.graph)?;
    }
    if options.dry_run {
        let view = PlanView { plan: &plan, pipeline: &project.pipeline, forecast: true };
        console.print(&view, options.carry_out.json)?;
        return Ok(Exit::Done);
    }
    let keep_going = options.keep_going;
    let config = options.carry_out.config(resources);
    let config = RunConfig { keep_going, forced, overwrite_published, only, ..config };
    let on_screen = (console, run_log(&project, &overrides, None));
    let summary =
        options.carry_out.carry_out(plan, &config, &project, &sources, on_screen, &mut |_| ())?;
    Ok(Exit::of_run(&summary))
}

//! `pipe run`: the whole flow, Pipeline, Graph, Plan, Run, Records.

use clap::Args;

use crate::cli::carry_out::{CarryOutOptions, Wanted};
use crate::cli::project::{Project, use_store};
use crate::cli::select::{SelectOptions, Selection, check_only};
use crate::cli::{Globals, OverrideOptions, submit};
use crate::console::Console;
use crate::error::Error;
use crate::executor::slurm::LATE_FILES;
use crate::exit::Exit;
use crate::pipeline::ExecutorName;

#[derive(Debug, Args)]
pub struct RunOptions {
    #[command(flatten)]
    select: SelectOptions,
    #[command(flatten)]
    pub(super) overrides: OverrideOptions,
    /// Say what would run and why, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// After a failure, go on with stages that do not depend on it
    #[arg(short, long)]
    keep_going: bool,
    /// Put all that is not up to date into Slurm's queue at once, and return; the jobs keep their
    /// order by themselves
    #[arg(long, conflicts_with_all = ["dry_run", "keep_going", "only", "force"])]
    submit: bool,
    /// In such a job: what the stage was when it was submitted
    #[arg(long, hide = true, requires = "only")]
    defined: Option<String>,
    #[command(flatten)]
    pub carry_out: CarryOutOptions,
}

pub fn execute(options: &RunOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let overrides = options.overrides.overrides();
    let mut project = Project::load(globals, &overrides)?;
    if options.submit {
        // The engine goes away: nothing is left to run here.
        for stage in &mut project.pipeline.stages {
            stage.handling.executor = Some(ExecutorName::Sbatch);
        }
    }
    options.carry_out.choose_executors(&mut project.pipeline);
    let Selection { selected, forced, only, overwrite_published } =
        options.select.select(&project)?;
    let resources = options.carry_out.resources(&project, &selected)?;
    let _in_use = match options.dry_run {
        true => None,
        false => Some(use_store(&project.store, console)?),
    };
    let sources = options.carry_out.sources(&project);
    let mut plan = project.plan(&selected, &forced, &sources)?;
    if options.submit {
        let (who, view) = ((globals, &overrides), (console, options.carry_out.json));
        return submit::execute(&plan, &project, who, &sources, &selected, view);
    }
    if let (Some(defined), Some(only)) = (&options.defined, &only) {
        let late = project.pipeline.stages.iter().find_map(|it| it.handling.request.late_files);
        let late = late.unwrap_or(LATE_FILES);
        plan = submit::check_in_job(defined, only, &selected, &project, &sources, plan, late)?;
    }
    if let Some(only) = &only {
        check_only(&plan, only, &project.pipeline, &project.graph)?;
    }
    if options.dry_run {
        console.plan(&plan, &project.pipeline, true, options.carry_out.json)?;
        return Ok(Exit::Done);
    }
    let keep_going = options.keep_going;
    let wanted = Wanted { keep_going, forced, overwrite_published, only, resources, sweep: None };
    let on_screen = (console, &overrides);
    let summary =
        options.carry_out.carry_out(plan, wanted, &project, &sources, on_screen, &mut |_| ())?;
    Ok(Exit::of_run(&summary))
}

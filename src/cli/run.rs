//! `pipe run`: the whole flow from the pipeline to the records.

use clap::Args;

use crate::cli::carry_out::{CarryOutOptions, run_log};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::{Project, use_store};
use crate::cli::select::{SelectOptions, Selection, check_only};
use crate::cli::settled::Question;
use crate::cli::submit::{self, SubmitOptions};
use crate::console::Console;
use crate::console::plan_view::PlanView;
use crate::files::threads;
use crate::plan::Plan;
use crate::report::live::{Live, LivePort};
use crate::results::run_log::RunLog;
use crate::run::config::RunConfig;
use crate::run::event::RunEvent;
use crate::store::settled::Settled;

#[derive(Debug, Args)]
pub struct RunCommand {
    #[command(flatten)]
    run: RunOptions,
    /// Serve the report while the run goes on, as a page that changes with it, to browsers on this
    /// machine. Default: a port that is free
    #[arg(
        long,
        value_name = "PORT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "0",
        conflicts_with_all = ["dry_run", "submit"]
    )]
    live: Option<u16>,
}

impl RunCommand {
    pub fn execute(&self, globals: &Globals, console: &Console) -> Result<Exit, Error> {
        let take = |port| LivePort::take(port).map_err(|error| Error::Live { port, error });
        let port = self.live.map(take).transpose()?;
        execute_live(&self.run, port, globals, console)
    }
}

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
    execute_live(options, None, globals, console)
}

/// Runs, and serves the run if there is a port for it.
fn execute_live(
    options: &RunOptions,
    port: Option<LivePort>,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    // What else a run may show than a summary, a kept answer does not have.
    let is_plain = !(options.dry_run || options.submit.submit || globals.verbose)
        && port.is_none()
        && options.carry_out.is_plain();
    let question = is_plain.then(|| Question::of_process(globals)).flatten();
    if let Some(question) = &question
        && question.answer(console)?
    {
        return Ok(Exit::Done);
    }
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
    let settled = question.as_ref().and_then(|_| Settled::of(&plan, &project, &sources.index));
    let keep_going = options.keep_going;
    let config = options.carry_out.config(resources);
    let config = RunConfig { keep_going, forced, overwrite_published, only, ..config };
    let on_screen = (console, run_log(&project, &overrides, None));
    let live = port.map(|port| serve(port, &plan, &project, console)).transpose()?;
    let mut is_quiet = true;
    let mut report = |event: &RunEvent, log: &RunLog| {
        is_quiet &= Question::may_hear(event);
        live.iter().for_each(|live| live.take(event, || log.so_far()));
    };
    let summary =
        options.carry_out.carry_out(plan, &config, &project, &sources, on_screen, &mut report)?;
    if let (Some(question), Some(settled)) = (question, settled)
        && is_quiet
    {
        question.keep(&settled, &summary, globals);
    }
    threads::free(project.pipeline.stages.len(), project);
    Ok(Exit::of_run(&summary))
}

/// Serves the run of this plan, and says where.
fn serve(port: LivePort, plan: &Plan, project: &Project, console: &Console) -> Result<Live, Error> {
    console.note(&format!("the run is at {} while it goes on", port.url()));
    let (pipeline, number) = (&project.pipeline, port.port);
    let name = pipeline.root.file_name().map_or_else(String::new, |it| it.display().to_string());
    let stages = plan.stages.iter().map(|planned| pipeline[planned.stage].name.clone());
    let served = port.serve(name, pipeline, &project.store, stages);
    served.map_err(|error| Error::Live { port: number, error })
}

//! `pipe run`: the whole flow, Pipeline, Graph, Plan, Run, Records.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::mpsc::channel;

use clap::Args;

use crate::cli::project::{Project, use_store};
use crate::cli::resources::{name_and_count, totals};
use crate::cli::select::{SelectOptions, Selection, check_only};
use crate::cli::{Globals, OverrideOptions};
use crate::console::Console;
use crate::error::Error;
use crate::executor::local::Local;
use crate::exit::Exit;
use crate::file_error::FileError;
use crate::run::prepare::Setting;
use crate::run::{Ground, RunConfig, run, signals};
use crate::run_log::RunLog;

#[derive(Debug, Args)]
pub struct RunOptions {
    #[command(flatten)]
    select: SelectOptions,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Say what would run and why, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// How many stages run at once; otherwise as many as there are cores
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// After a failure, go on with stages that do not depend on it
    #[arg(short, long)]
    keep_going: bool,
    /// How many there are of a counted thing that stages ask for under `resources`
    #[arg(long, value_name = "NAME=N", value_parser = name_and_count)]
    resource: Vec<(String, u32)>,
    /// Where the model runs: `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    device: String,
    /// How many threads a stage may use; 0 for all cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Download nothing
    #[arg(long)]
    offline: bool,
    /// Read every source file again instead of trusting its size and times
    #[arg(long)]
    no_index: bool,
    /// Print what happens as JSON, one object a line
    #[arg(long)]
    pub(super) json: bool,
}

pub fn execute(options: &RunOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let project = Project::load(globals, &options.overrides.overrides())?;
    let Selection { selected, forced, only, overwrite_published } =
        options.select.select(&project)?;
    let resources = totals(&project.pipeline, &selected, &options.resource)?;
    let _in_use = match options.dry_run {
        true => None,
        false => Some(use_store(&project.store, console)?),
    };
    let sources = project.sources(!options.no_index, options.offline);
    let plan = project.plan(&selected, &forced, &sources)?;
    if let Some(only) = &only {
        check_only(&plan, only, &project.pipeline, &project.graph)?;
    }
    if options.dry_run {
        console.plan(&plan, &project.pipeline, true, options.json)?;
        return Ok(Exit::Done);
    }
    let (sender, receiver) = channel();
    signals::forward(sender.clone()).map_err(Error::Signals)?;
    let binary = binary()?;
    let executor = Local::new(&binary);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let config = RunConfig {
        jobs: options.jobs.map_or(cores, NonZeroUsize::get),
        keep_going: options.keep_going,
        forced,
        overwrite_published,
        only,
        resources,
    };
    let setting = Setting {
        binary: &binary,
        project: &project.pipeline.root,
        store: &project.store,
        device: &options.device,
        threads: options.threads,
    };
    let ground = Ground {
        pipeline: &project.pipeline,
        graph: &project.graph,
        setting,
        sources: &sources,
        executor: &executor,
    };
    let mut view = console.run_view(options.json);
    let mut log = RunLog::new(&project.pipeline, typed(), &options.overrides.overrides());
    let mut report = |event| {
        log.take(&event);
        view.show(&event);
    };
    let summary = run(plan, &config, &ground, (sender, receiver), &mut report)?;
    if let Err(error) = log.write(&project.store) {
        // The results are in the store; only `pipe log` will not know of this run.
        console.warning(&format!("this run is missing in `pipe log`: {error}"));
    }
    Ok(Exit::of_run(&summary))
}

/// This program, which runs the built-in stages.
pub(super) fn binary() -> Result<PathBuf, Error> {
    Ok(std::env::current_exe().map_err(FileError::at("locating", "pipe".as_ref()))?)
}

/// What the user typed after `pipe`.
fn typed() -> Vec<String> {
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}

pub(super) fn device(text: &str) -> Result<String, String> {
    let numbered = text.strip_prefix("cuda:").is_some_and(|number| number.parse::<u16>().is_ok());
    if numbered || ["auto", "cpu", "cuda"].contains(&text) {
        return Ok(text.to_owned());
    }
    Err("expected `auto`, `cpu`, `cuda` or `cuda:N`".to_owned())
}

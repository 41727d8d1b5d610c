//! `pipe run`: the whole flow, Pipeline, Graph, Plan, Run, Records.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::mpsc::channel;

use clap::Args;

use crate::cli::project::Project;
use crate::cli::{Globals, OverrideOptions};
use crate::console::Console;
use crate::error::Error;
use crate::executor::local::Local;
use crate::exit::Exit;
use crate::file_error::FileError;
use crate::run::prepare::Setting;
use crate::run::{Ground, RunConfig, run, signals};

#[derive(Debug, Args)]
pub struct RunOptions {
    /// Run only these stages and what they need
    stages: Vec<String>,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Say what would run and why, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Run the named stages (all, if none is named) even if they are up to date, and overwrite
    /// published files that were edited
    #[arg(long)]
    force: bool,
    /// How many stages run at once; otherwise as many as there are cores
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// After a failure, go on with stages that do not depend on it
    #[arg(short, long)]
    keep_going: bool,
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
    json: bool,
}

pub fn execute(options: &RunOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let project = Project::load(globals, &options.overrides.overrides())?;
    let selected = project.select(&options.stages)?;
    let forced = forced(options, &project)?;
    let sources = project.sources(!options.no_index, options.offline);
    let plan = project.plan(&selected, &forced, &sources)?;
    if options.dry_run {
        console.plan(&plan, &project.pipeline, true, options.json)?;
        return Ok(Exit::Done);
    }
    let (sender, receiver) = channel();
    signals::forward(sender.clone()).map_err(Error::Signals)?;
    let binary = std::env::current_exe().map_err(FileError::at("locating", "pipe".as_ref()))?;
    let executor = Local::new(&binary);
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let config = RunConfig {
        jobs: options.jobs.map_or(cores, NonZeroUsize::get),
        keep_going: options.keep_going,
        forced,
        overwrite_published: options.force,
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
    let summary = run(plan, &config, &ground, (sender, receiver), &mut |event| view.show(&event))?;
    Ok(Exit::of_run(&summary))
}

fn forced(options: &RunOptions, project: &Project) -> Result<BTreeSet<String>, Error> {
    let stages = &project.pipeline.stages;
    if !options.force {
        return Ok(BTreeSet::new());
    }
    if options.stages.is_empty() {
        return Ok(stages.iter().map(|stage| stage.name.clone()).collect());
    }
    let mut forced = BTreeSet::new();
    for name in &options.stages {
        let meant = project.stage_indices(name)?.into_iter();
        forced.extend(meant.map(|index| stages[index].name.clone()));
    }
    Ok(forced)
}

pub(super) fn device(text: &str) -> Result<String, String> {
    let numbered = text.strip_prefix("cuda:").is_some_and(|number| number.parse::<u16>().is_ok());
    if numbered || ["auto", "cpu", "cuda"].contains(&text) {
        return Ok(text.to_owned());
    }
    Err("expected `auto`, `cpu`, `cuda` or `cuda:N`".to_owned())
}

//! What `run` and `sweep` have in common: the options that say where stages run and how many at
//! once, and carrying out a plan with its view on the screen and its entry in the run log.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;

use clap::Args;
use stages::model::accelerator::name::DeviceName;

use crate::cli::error::Error;
use crate::cli::project::Project;
use crate::cli::resources::{name_and_count, totals};
use crate::console::Console;
use crate::executor::choice::{Executors, choose, places_elsewhere};
use crate::files::file_error::FileError;
use crate::pipeline::remote_settings::Trust;
use crate::pipeline::{ExecutorName, Overrides, Pipeline, StageIndex, Transfer};
use crate::plan::Plan;
use crate::remote::RemoteError;
use crate::results::run_log::RunLog;
use crate::results::sweep::logged::LoggedSweep;
use crate::run::config::RunConfig;
use crate::run::context::{RunContext, prepare_store};
use crate::run::event::{RunEvent, Summary};
use crate::run::{run, signals};
use crate::sources::Sources;

/// Where stages run, and how.
#[derive(Debug, Args)]
pub struct CarryOutOptions {
    /// Where stages run: `local`, `srun`, `sbatch`, or `slurm` (`srun` inside an allocation,
    /// otherwise `sbatch`). Default: what the pipeline says
    #[arg(long, value_name = "WHERE", value_parser = executor)]
    executor: Option<ExecutorName>,
    /// How many stages run at once. Default: the number of cores, in a Slurm allocation the number
    /// of its cores, and 1,000 batch jobs
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// How many units there are of a resource that stages request under `resources`
    #[arg(long, value_name = "NAME=N", value_parser = name_and_count)]
    resource: Vec<(String, u32)>,
    /// Where the model runs: `auto`, `cpu`, `cuda`, `cuda:N`, `vulkan` or `vulkan:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    device: String,
    /// How many threads a stage may use; 0 for all cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Download nothing and use no remote
    #[arg(long)]
    offline: bool,
    /// Look in this remote before computing, and upload computed results. Default: your default
    /// remote, if you have one
    #[arg(long, value_name = "NAME", conflicts_with = "offline")]
    remote: Option<String>,
    /// Read every source file again instead of trusting its size and times
    #[arg(long)]
    no_index: bool,
    /// Print what happens as JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

impl CarryOutOptions {
    /// Whether a run prints text, and believes the times of files.
    pub fn is_plain(&self) -> bool {
        !self.json && !self.no_index
    }

    pub fn sources(&self, project: &Project) -> Sources {
        project.sources(!self.no_index, self.offline)
    }

    /// Decides where each stage runs.
    pub fn choose_executors(&self, pipeline: &mut Pipeline) {
        choose(pipeline, self.executor);
    }

    /// How many units of each resource these stages can use.
    pub fn resources(
        &self,
        project: &Project,
        selected: &BTreeSet<StageIndex>,
    ) -> Result<BTreeMap<String, u32>, Error> {
        Ok(totals(&project.pipeline, selected, &self.resource)?)
    }

    /// The configuration of a run without further options.
    pub fn config(&self, resources: BTreeMap<String, u32>) -> RunConfig {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        RunConfig {
            jobs: self.jobs.map_or(cores, NonZeroUsize::get),
            jobs_elsewhere: self.jobs.map_or_else(places_elsewhere, NonZeroUsize::get),
            keep_going: false,
            forced: BTreeSet::new(),
            overwrite_published: false,
            only: None,
            resources,
        }
    }

    /// Carries out a plan and logs it; `report` sees every event before the screen does, with the log after
    /// it.
    pub fn carry_out(
        &self,
        plan: Plan,
        config: &RunConfig,
        project: &Project,
        sources: &Sources,
        (console, mut log): (&Console, RunLog),
        report: &mut dyn FnMut(&RunEvent, &RunLog),
    ) -> Result<Summary, Error> {
        let mut report = |event: &RunEvent| {
            log.take(event);
            report(event, &log);
        };
        let ended = self.carry_out_part(plan, config, project, sources, console, &mut report);
        write_log(log, project, console);
        ended
    }

    /// Carries out a plan that is one of several of a command.
    pub fn carry_out_part(
        &self,
        plan: Plan,
        config: &RunConfig,
        project: &Project,
        sources: &Sources,
        console: &Console,
        report: &mut dyn FnMut(&RunEvent),
    ) -> Result<Summary, Error> {
        let (sender, receiver) = channel();
        let _forwarding = signals::forward(sender.clone())
            .map_err(FileError::at("listening for signals in", "pipe".as_ref()))?;
        let binary = binary()?;
        let remote = match self.offline {
            true => None,
            false => project.remote_of_run(self.remote.as_deref())?.map(Arc::new),
        };
        if travels(&project.pipeline) {
            let what = "`slurm: {transfer: remote}` sends the files of stages";
            let remote = remote.as_ref().ok_or(RemoteError::Needed { what })?;
            remote.settings.check(|trust| trust == Trust::Both)?;
        }
        let executor = Executors::new(&binary, &project.store, remote.clone());
        let scratch = prepare_store(&project.store)?;
        let context = RunContext {
            pipeline: &project.pipeline,
            graph: &project.graph,
            sources,
            store: &project.store,
            scratch: &scratch,
            remote: remote.as_ref(),
            executor: &executor,
            binary: &binary,
            device: &self.device,
            threads: self.threads,
            interrupted: AtomicBool::new(false),
        };
        let mut view = console.run_view(self.json);
        let mut report = |event| {
            report(&event);
            view.show(&event);
        };
        let summary = run(plan, config, &context, (sender, receiver), &mut report)?;
        // It only saves reading YAML. A read-only project has none.
        let _ = project.tree.save(&scratch);
        view.finish()?;
        Ok(summary)
    }
}

/// Writes the entry of a run into the log.
pub fn write_log(log: RunLog, project: &Project, console: &Console) {
    if let Err(error) = log.write(&project.store) {
        // The results are in the store; only `pipe log` will not know about this run.
        console.warning(&format!("this run will be missing from `pipe log`: {error}"));
    }
}

/// Whether the files of some stage reach its node through a remote.
pub(super) fn travels(pipeline: &Pipeline) -> bool {
    pipeline.stages.iter().any(|stage| {
        stage.handling.executor == Some(ExecutorName::Sbatch)
            && stage.handling.request.transfer == Some(Transfer::Remote)
    })
}

/// This program, which runs the built-in stages.
pub(super) fn binary() -> Result<PathBuf, Error> {
    Ok(std::env::current_exe().map_err(FileError::at("locating", "pipe".as_ref()))?)
}

/// The entry of a run in the log; `sweep` has the combinations of a sweep.
pub fn run_log<'a>(
    project: &'a Project,
    overrides: &'a Overrides,
    sweep: Option<LoggedSweep>,
) -> RunLog<'a> {
    RunLog::new(&project.pipeline, typed(), overrides, sweep)
}

/// What the user typed after `pipe`.
fn typed() -> Vec<String> {
    std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect()
}

fn executor(text: &str) -> Result<ExecutorName, String> {
    ExecutorName::find(text)
        .ok_or_else(|| "expected `local`, `slurm`, `srun` or `sbatch`".to_owned())
}

pub(super) fn device(text: &str) -> Result<String, String> {
    let name: DeviceName = text.parse()?;
    Ok(name.to_string())
}

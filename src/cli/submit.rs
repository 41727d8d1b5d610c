//! `pipe run --submit` and `pipe sweep --submit`: queue everything that is not up to date in Slurm and
//! return. Also what such a job checks before it runs its stage.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cli::carry_out::{binary, travels};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::Project;
use crate::cli::select::check_only;
use crate::console::Console;
use crate::console::submit_view::SubmittedView;
use crate::executor::ExecutorError;
use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::graph::{JobCommand, SubmittedJob, definitions, submit};
use crate::executor::slurm::request::LATE_FILES;
use crate::files::file_error::FileError;
use crate::pipeline::{ExecutorName, Overrides, Pipeline, StageIndex};
use crate::plan::Plan;
use crate::sources::Sources;

#[derive(Debug, Args)]
pub struct SubmitOptions {
    /// Queue all stages that are not up to date in Slurm, and return. The jobs wait for each other
    #[arg(long, conflicts_with_all = ["dry_run", "keep_going", "only"])]
    pub submit: bool,
    /// In a submitted job: the definition of its stage when it was submitted
    #[arg(long, hide = true, requires = "only")]
    defined: Option<String>,
}

impl SubmitOptions {
    /// With `--submit` every stage becomes a batch job: no engine stays behind to run any here.
    pub fn choose_executors(&self, pipeline: &mut Pipeline) {
        for stage in pipeline.stages.iter_mut().filter(|_| self.submit) {
            stage.handling.executor = Some(ExecutorName::Sbatch);
        }
    }

    /// The plan of a submitted job's stage. Its upstream stages have run, but on a network file system
    /// their records may become visible late, so this waits for them.
    pub fn plan_in_job(
        &self,
        plan: Plan,
        only: Option<&BTreeSet<String>>,
        project: &Project,
        selected: &BTreeSet<StageIndex>,
        sources: &Sources,
    ) -> Result<Plan, Error> {
        let (Some(defined), Some(only)) = (&self.defined, only) else { return Ok(plan) };
        let late = project.pipeline.stages.iter().find_map(|it| it.handling.request.late_files);
        let late = late.unwrap_or(LATE_FILES);
        check_in_job(defined, only, selected, project, sources, plan, late)
    }
}

/// Submits the stages that are not up to date. `words` are the jobs' subcommand and its arguments.
pub fn execute(
    plan: &Plan,
    project: &Project,
    (globals, overrides, words): (&Globals, &Overrides, &[&str]),
    sources: &Sources,
    selected: &BTreeSet<StageIndex>,
    (console, json): (&Console, bool),
) -> Result<Exit, Error> {
    if travels(&project.pipeline) {
        return Err(ExecutorError::from(SlurmError::SubmitShared).into());
    }
    let defined = definitions(&project.pipeline, &project.graph, selected, sources)
        .map_err(|error| project.plan_error(error))?;
    let arguments = arguments(project, globals, overrides, words)?;
    let store = &project.store;
    let (binary, jobs, logs) =
        (binary()?, store.jobs_folder(), store.logs_folder().join("submitted"));
    let command = JobCommand { binary: &binary, arguments: &arguments, jobs: &jobs, logs: &logs };
    let mut all: Vec<SubmittedJob> = Vec::new();
    let mut told = |job: &SubmittedJob| all.push(job.clone());
    let (pipeline, graph) = (&project.pipeline, &project.graph);
    let submitted = submit(plan, pipeline, graph, &defined, &command, &mut told);
    console.print(&SubmittedView { jobs: &all, logs: &logs }, json)?;
    submitted?;
    Ok(Exit::Done)
}

/// The command line of each job: this pipeline with these overrides, run on the job's own node.
fn arguments(
    project: &Project,
    globals: &Globals,
    overrides: &Overrides,
    words: &[&str],
) -> Result<Vec<String>, Error> {
    let text = |path: &std::path::Path| {
        path.to_str()
            .map(str::to_owned)
            .ok_or_else(|| FileError::found("handing over", path, "its name is not UTF-8"))
    };
    let mut arguments = vec!["--file".to_owned(), text(&project.pipeline.file)?];
    arguments.extend(["--cache".to_owned(), text(project.store.root())?]);
    if globals.verbose {
        arguments.push("--verbose".to_owned());
    }
    let local = ["--executor", "local", "--jobs", "1"];
    arguments.extend(words.iter().chain(&local).map(|word| (*word).to_owned()));
    if let Some(profile) = &overrides.profile {
        arguments.extend(["--profile".to_owned(), profile.clone()]);
    }
    for (key, value) in &overrides.set {
        arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    Ok(arguments)
}

/// Checks that the stage is as it was submitted, then waits until its inputs are visible.
fn check_in_job(
    defined: &str,
    only: &BTreeSet<String>,
    selected: &BTreeSet<StageIndex>,
    project: &Project,
    sources: &Sources,
    plan: Plan,
    late: Duration,
) -> Result<Plan, Error> {
    let now = definitions(&project.pipeline, &project.graph, selected, sources)
        .map_err(|error| project.plan_error(error))?;
    let pipeline = &project.pipeline;
    let mut stages = only
        .iter()
        .filter_map(|name| pipeline.indices().find(|stage| pipeline[*stage].name == *name));
    let stage = stages.next();
    let same =
        stage.and_then(|stage| now.get(&stage)).is_some_and(|now| now.to_string() == defined);
    if !same {
        let stage = only.iter().next().cloned().unwrap_or_default();
        return Err(Error::ChangedSinceSubmitted { stage });
    }
    let (until, mut plan) = (Instant::now() + late, plan);
    while check_only(&plan, only, &project.pipeline, &project.graph).is_err()
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_secs(1));
        plan = project.plan(selected, &BTreeSet::new(), sources)?;
    }
    Ok(plan)
}

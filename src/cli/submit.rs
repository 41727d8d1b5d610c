//! `pipe run --submit`: the whole stale part of the pipeline into Slurm's queue, and back to the
//! prompt. And what the jobs do then that a plain run does not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::cli::Globals;
use crate::cli::carry_out::binary;
use crate::cli::project::Project;
use crate::cli::select::check_only;
use crate::console::Console;
use crate::error::Error;
use crate::executor::slurm::graph::{Command, SubmittedJob, definitions, submit};
use crate::exit::Exit;
use crate::file_error::FileError;
use crate::pipeline::Overrides;
use crate::plan::Plan;
use crate::sources::Sources;

/// Submits what is not up to date.
pub fn execute(
    plan: &Plan,
    project: &Project,
    (globals, overrides): (&Globals, &Overrides),
    sources: &Sources,
    selected: &BTreeSet<usize>,
    (console, json): (&Console, bool),
) -> Result<Exit, Error> {
    let defined = definitions(&project.pipeline, &project.graph, selected, sources)
        .map_err(|error| project.plan_error(error))?;
    let arguments = arguments(project, globals, overrides)?;
    let store = &project.store;
    let (binary, jobs, logs) =
        (binary()?, store.jobs_folder(), store.logs_folder().join("submitted"));
    let command = Command { binary: &binary, arguments: &arguments, jobs: &jobs, logs: &logs };
    let mut all: Vec<SubmittedJob> = Vec::new();
    let mut told = |job: &SubmittedJob| all.push(job.clone());
    let (pipeline, graph) = (&project.pipeline, &project.graph);
    let submitted = submit(plan, pipeline, graph, &defined, &command, &mut told);
    console.submitted(&all, &logs, json)?;
    submitted?;
    Ok(Exit::Done)
}

/// The command line of each job: this pipeline with these overrides, and its stages where the
/// job is.
fn arguments(
    project: &Project,
    globals: &Globals,
    overrides: &Overrides,
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
    arguments.extend(["run", "--executor", "local", "--jobs", "1"].map(str::to_owned));
    if let Some(profile) = &overrides.profile {
        arguments.extend(["--profile".to_owned(), profile.clone()]);
    }
    for (key, value) in &overrides.set {
        arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    Ok(arguments)
}

/// In a job: whether the stage is what was submitted. Its makers have run, so it may be planned; on
/// a network file system their records may come into sight a little later.
pub fn check_in_job(
    defined: &str,
    only: &BTreeSet<String>,
    selected: &BTreeSet<usize>,
    project: &Project,
    sources: &Sources,
    plan: Plan,
    late: Duration,
) -> Result<Plan, Error> {
    let now = definitions(&project.pipeline, &project.graph, selected, sources)
        .map_err(|error| project.plan_error(error))?;
    let mut stages = only
        .iter()
        .filter_map(|name| project.pipeline.stages.iter().position(|stage| stage.name == *name));
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

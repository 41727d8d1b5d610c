//! `pipe verify STAGE`: reruns a stage in a scratch folder and compares the results with each other
//! and with the cached one. The store does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;

use clap::Args;

use crate::cli::carry_out::{binary, device};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::linked::check_intact;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::{Project, use_store};
use crate::console::Console;
use crate::console::verify_view::VerifiedView;
use crate::executor::local::Local;
use crate::files::scratch::Scratch;
use crate::pipeline::{Stage, StageIndex};
use crate::plan::Decision;
use crate::plan::inputs::{self, FoundInputs, KeyedStage};
use crate::results::compare::verified::Verified;
use crate::results::compare::{Files, files_at, files_in};
use crate::run::again::{RunAgain, run_again};
use crate::run::context::RunContext;
use crate::run::event::{Outcome, RunEvent, StageFinished};
use crate::sources::Sources;
use crate::store::record::Record;

#[derive(Debug, Args)]
pub struct VerifyOptions {
    /// The stage
    stage: String,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// How many times to run the stage
    #[arg(long, value_name = "N", default_value = "2")]
    times: NonZeroUsize,
    /// Where the model runs: `auto`, `cpu`, `cuda`, `cuda:N`, `vulkan` or `vulkan:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    device: String,
    /// How many threads a stage may use; 0 for all cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn execute(
    options: &VerifyOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let project = Project::load(globals, &options.overrides.overrides())?;
    let index = project.stage_index(&options.stage)?;
    let stage = &project.pipeline[index];
    let _in_use = use_store(&project.store, console)?;
    let sources = project.sources(true, true);
    let (resolved, cached) = find_inputs(&project, index, &sources)?;
    let binary = binary()?;
    let executor = Local::new(&binary);
    let scratch = Scratch::new(&project.store.scratch_folder())?;
    let context = RunContext {
        pipeline: &project.pipeline,
        graph: &project.graph,
        sources: &sources,
        store: &project.store,
        scratch: &scratch,
        remote: None,
        executor: &executor,
        binary: &binary,
        device: &options.device,
        threads: options.threads,
        interrupted: AtomicBool::new(false),
    };
    let mut verified = Verified {
        stage: stage.name.clone(),
        key: resolved.key,
        stable: true,
        seconds: Vec::new(),
        device: None,
        cached: cached.is_some(),
        comparisons: Vec::new(),
    };
    let mut first: Option<BTreeMap<String, Files>> = None;
    for run in 1..=options.times.get() {
        let ran = run_once(stage, &resolved, &context, (run, options.times.get()), console)?;
        verified.seconds.push(ran.seconds);
        verified.device = ran.device.or(verified.device);
        let mut files = BTreeMap::new();
        for output in &stage.outputs {
            let path = &ran.outputs[&output.name];
            files.insert(output.name.clone(), files_at(path, &output.file)?);
        }
        let Some(first) = &first else {
            first = Some(files);
            continue;
        };
        verified.compare(first, format!("run {run}"), &files)?;
    }
    if let Some((record, first)) = cached.zip(first) {
        for artifact in record.outputs.values() {
            check_intact(&project.store, artifact.content)?;
        }
        let files = stage.outputs.iter().filter_map(|output| {
            let artifact = record.outputs.get(&output.name)?;
            let files = files_in(&project.store, artifact.content, &output.file)?;
            Some((output.name.clone(), files))
        });
        verified.compare(&first, "the cached result".to_owned(), &files.collect())?;
    }
    console.print(&VerifiedView { verified: &verified }, options.json)?;
    Ok(if verified.stable { Exit::Done } else { Exit::Failed })
}

/// The stage's inputs, which must all exist, and its cached result, if there is one.
fn find_inputs(
    project: &Project,
    index: StageIndex,
    sources: &Sources,
) -> Result<(KeyedStage, Option<Box<Record>>), Error> {
    let selected = project.graph.upstream(&[index]);
    let plan = project.plan(&selected, &BTreeSet::new(), sources)?;
    let mut hits = BTreeMap::new();
    for planned in plan.stages {
        if let Decision::Hit(record) = planned.decision {
            hits.insert(project.pipeline[planned.stage].name.as_str(), record);
        }
    }
    let stage = &project.pipeline[index];
    let artifact = |stage: &str, output: &str| hits.get(stage)?.outputs.get(output).copied();
    let resolution = inputs::find_inputs(stage, &artifact, sources)
        .map_err(|error| project.plan_error(error))?;
    match resolution {
        FoundInputs::All(resolved) => Ok((*resolved, hits.remove(stage.name.as_str()))),
        FoundInputs::Incomplete { stages, downloads, .. } => {
            let missing =
                stages.into_iter().map(|name| format!("stage `{name}` is not up to date"));
            let downloads = downloads.iter().map(|input| format!("{input} is not downloaded"));
            let problem = missing.chain(downloads).next().unwrap_or_default();
            Err(Error::NoInputs { stage: stage.name.clone(), problem })
        }
    }
}

/// Runs the stage once, and shows its progress.
fn run_once(
    stage: &Stage,
    resolved: &KeyedStage,
    context: &RunContext,
    (run, times): (usize, usize),
    console: &Console,
) -> Result<RunAgain, Error> {
    // Progress goes to standard error, since standard output is for the verdict.
    let mut view = console.run_view(false);
    let message = format!("run {run} of {times}");
    view.show(&RunEvent::StageWaiting { stage: stage.name.clone(), message });
    let view = std::sync::Mutex::new(view);
    let show = |event: &RunEvent| {
        view.lock().unwrap_or_else(std::sync::PoisonError::into_inner).show(event);
    };
    let result = run_again(stage, resolved, context, &mut |event| {
        show(&RunEvent::StageSays { stage: stage.name.clone(), said: event.clone() });
    });
    let finished = |outcome, seconds| StageFinished::without_record(&stage.name, outcome, seconds);
    let ran = result.map_err(|failure| {
        let mut finished = finished(Outcome::Failed, 0.0);
        finished.message = Some(failure.to_string());
        finished.hint = failure.hint();
        finished.last_lines = failure.last_lines();
        Error::StageFailed(Box::new(finished))
    })?;
    show(&RunEvent::StageFinished(Box::new(finished(Outcome::Ran, ran.seconds))));
    Ok(ran)
}

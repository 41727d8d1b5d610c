//! `pipe sweep`: runs many combinations of overrides at once and prints a table of their metrics.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;

use crate::cli::carry_out::{CarryOutOptions, run_log};
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions, key_and_value};
use crate::cli::project::{Project, pipeline_file, store, use_store};
use crate::cli::race::{Output, RaceOptions, RaceRun};
use crate::cli::select::check_only;
use crate::cli::submit::{self, SubmitOptions};
use crate::console::Console;
use crate::console::sweep_view::{SweepPlanView, SweepTableView, SweepsView};
use crate::pipeline::kept_tree::KeptTree;
use crate::pipeline::sweeps::{Sweep, load_sweeps, typed_axis};
use crate::pipeline::{Overrides, Pipeline, load_combinations};
use crate::results::run_log::RunLog;
use crate::results::sweep::combine::{SweepRow, combine};
use crate::results::sweep::curve::SHARE;
use crate::results::sweep::logged::LoggedSweep;
use crate::results::sweep::results::Seen;
use crate::results::sweep::table::{Table, csv, find_metric, metrics_of, table, usual_metric};
use crate::results::sweep::{Asked, SweepError, ask, named};
use crate::run::config::RunConfig;
use crate::run::event::RunEvent;

#[derive(Debug, Args)]
pub struct SweepOptions {
    /// The name of a sweep in the pipeline, and keys with their values: `finetune.epochs=2,4
    /// seed=1,2,3`. `curve` is a learning curve: shares of the training data, three seeds each.
    /// Default: list the pipeline's sweeps
    #[arg(value_name = "NAME|KEY=VALUES")]
    what: Vec<String>,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Sort the table by this metric, such as `score.valid_f1`, largest first
    #[arg(long, value_name = "STAGE.METRIC")]
    by: Option<String>,
    /// Sort the smallest first
    #[arg(long)]
    ascending: bool,
    /// Average over the values of this key, such as `seed`: show means and standard deviations
    #[arg(long, value_name = "KEY")]
    over: Vec<String>,
    /// Show what would run, what is shared and how long it may take, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// After a failure, continue with the other combinations. This is the default
    #[arg(short, long, conflicts_with = "fail_fast")]
    keep_going: bool,
    /// After a failure, start nothing new
    #[arg(long)]
    fail_fast: bool,
    /// Print the table as comma-separated values, with all metrics
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    race: RaceOptions,
    /// In a submitted job: its stages
    #[arg(long, hide = true)]
    only: Vec<String>,
    #[command(flatten)]
    submit: SubmitOptions,
    #[command(flatten)]
    pub carry_out: CarryOutOptions,
}

pub fn execute(
    options: &SweepOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let overrides = options.overrides.overrides();
    let file = pipeline_file(globals)?;
    let sweeps = load_sweeps(&file, &overrides)?;
    if options.what.is_empty() {
        if sweeps.is_empty() && !options.carry_out.json {
            console.note("the file has no `sweeps:`; name values, such as `pipe sweep seed=1,2,3`");
        }
        console.print(&SweepsView { sweeps: &sweeps }, options.carry_out.json)?;
        return Ok(Exit::Done);
    }
    let axes = learning_curve(&options.what, &sweeps, &file, &overrides)?;
    let what = axes.as_ref().unwrap_or(&options.what);
    let mut asked = asked(options, what, &sweeps, &overrides)?;
    if axes.is_some() && asked.over.is_empty() {
        asked.over = asked.keys.iter().filter(|key| key.ends_with(".seed")).cloned().collect();
    }
    let (combinations, keys) = (&asked.combinations, &asked.keys);
    let loaded = load_combinations(&file, &overrides, combinations, keys, what)?;
    let (pipeline, rows) = combine(loaded, keys);
    let mut project = project_of(globals, pipeline)?;
    options.submit.choose_executors(&mut project.pipeline);
    options.carry_out.choose_executors(&mut project.pipeline);
    check_metric(&asked, &rows, &project)?;
    let sources = options.carry_out.sources(&project);
    let selected = project.select(&options.only)?;
    let resources = options.carry_out.resources(&project, &selected)?;
    let _in_use = match options.dry_run {
        true => None,
        false => Some(use_store(&project.store, console)?),
    };
    let plan = project.plan(&selected, &BTreeSet::new(), &sources)?;
    if options.submit.submit {
        let what = options.what.iter().map(String::as_str);
        let words: Vec<&str> = ["sweep"].into_iter().chain(what).collect();
        let (who, view) = ((globals, &overrides, &words[..]), (console, options.carry_out.json));
        return submit::execute(&plan, &project, who, &sources, &selected, view);
    }
    let only: Option<BTreeSet<String>> =
        (!options.only.is_empty()).then(|| options.only.iter().cloned().collect());
    let plan = options.submit.plan_in_job(plan, only.as_ref(), &project, &selected, &sources)?;
    if let Some(only) = &only {
        check_only(&plan, only, &project.pipeline, &project.graph)?;
    }
    let keep_going = !options.fail_fast;
    let config = RunConfig { keep_going, only, ..options.carry_out.config(resources) };
    if options.race.race {
        let race = options.race.race(&rows, &asked, &project.pipeline)?;
        let (project, sources) = (&project, &sources);
        let run = RaceRun { race, rows: &rows, asked: &asked, project, sources };
        let how = (&options.carry_out, &Output { dry_run: options.dry_run, csv: options.csv });
        return run.carry_out(plan, &config, &overrides, how, console);
    }
    if options.dry_run {
        let view =
            SweepPlanView { plan: &plan, pipeline: &project.pipeline, rows: &rows, race: None };
        console.print(&view, options.carry_out.json)?;
        return Ok(Exit::Done);
    }
    let mut seen = Seen::default();
    let sweep = LoggedSweep::of(&asked, &rows, &project.pipeline);
    let in_job = config.only.is_some();
    let on_screen = (console, run_log(&project, &overrides, Some(sweep)));
    let mut report = |event: &RunEvent, _: &RunLog| seen.take(event);
    let summary =
        options.carry_out.carry_out(plan, &config, &project, &sources, on_screen, &mut report)?;
    if in_job {
        return Ok(Exit::of_run(&summary));
    }
    let table = tabulate(&asked, &seen, &rows, &project, console);
    match options.csv && !options.carry_out.json {
        true => console.bytes(csv(&table).as_bytes())?,
        false => console.print(&SweepTableView { table: &table }, options.carry_out.json)?,
    }
    Ok(Exit::of_run(&summary))
}

fn project_of(globals: &Globals, pipeline: Pipeline) -> Result<Project, Error> {
    let store = store(globals, &pipeline.root)?;
    let tree = KeptTree::at(store.tree_file());
    Project::of(pipeline, store, tree)
}

/// The arguments with `curve` replaced by the axes that it stands for; `None` if it is not among them, or
/// is the name of a sweep of the file.
fn learning_curve(
    what: &[String],
    sweeps: &[Sweep],
    file: &Path,
    overrides: &Overrides,
) -> Result<Option<Vec<String>>, Error> {
    const NAME: &str = "curve";
    let is_named = sweeps.iter().any(|sweep| sweep.name == NAME);
    if is_named || !what.iter().any(|argument| argument == NAME) {
        return Ok(None);
    }
    let pipeline = Pipeline::load(file, overrides)?;
    let splits = pipeline.stages.iter().filter(|stage| stage.action.builtin() == Some("split"));
    // A variant is one of several folds, of which none alone is the division to train with.
    let splits: Vec<&str> =
        splits.map(|stage| stage.name.as_str()).filter(|name| !name.contains('@')).collect();
    let [split] = splits[..] else {
        return Err(SweepError::NoCurve { splits: splits.len() }.into());
    };
    let mut axes: Vec<String> = what.iter().filter(|argument| *argument != NAME).cloned().collect();
    for (key, values) in [(SHARE, "0.125,0.25,0.5,1"), ("seed", "1,2,3")] {
        let key = format!("{split}.{key}=");
        if !axes.iter().any(|axis| axis.starts_with(&key)) {
            axes.push(key + values);
        }
    }
    Ok(Some(axes))
}

/// The sweep that the arguments describe, with the options that override the file's.
fn asked(
    options: &SweepOptions,
    what: &[String],
    sweeps: &[Sweep],
    overrides: &Overrides,
) -> Result<Asked, SweepError> {
    let (mut name, mut axes) = (None, Vec::new());
    for (index, argument) in what.iter().enumerate() {
        match key_and_value(argument) {
            Ok((key, values)) => axes.push(typed_axis(index, &key, &values)),
            Err(_) => {
                if let Some(first) = name.replace(argument.clone()) {
                    return Err(SweepError::Several { first, second: argument.clone() });
                }
            }
        }
    }
    let sweep = name.map(|name| named(sweeps, &name)).transpose()?;
    let mut asked = ask(sweep, &axes, overrides)?;
    asked.ascending |= options.ascending;
    if options.by.is_some() {
        asked.metric.clone_from(&options.by);
    }
    if !options.over.is_empty() {
        let key = |name: &String| {
            let is_meant = |key: &&String| *key == name || key.rsplit('.').next() == Some(name);
            let known = asked.keys.clone();
            asked
                .keys
                .iter()
                .find(is_meant)
                .cloned()
                .ok_or(SweepError::NotAKey { key: name.clone(), known })
        };
        asked.over = options.over.iter().map(key).collect::<Result<_, _>>()?;
    }
    Ok(asked)
}

/// Refuses a metric of an unknown stage before the sweep runs, rather than after it.
fn check_metric(asked: &Asked, rows: &[SweepRow], project: &Project) -> Result<(), Error> {
    let Some((stage, _)) = asked.metric.as_deref().and_then(|it| it.rsplit_once('.')) else {
        return Ok(());
    };
    match rows.iter().any(|row| row.stages.contains_key(stage)) {
        true => Ok(()),
        false => Err(project.unknown_stage(stage)),
    }
}

fn tabulate(
    asked: &Asked,
    seen: &Seen,
    rows: &[SweepRow],
    project: &Project,
    console: &Console,
) -> Table {
    let finished = seen.rows(rows, &project.pipeline);
    let known = metrics_of(&finished);
    let metric = match &asked.metric {
        None => {
            let stages: BTreeSet<&str> =
                rows.iter().flat_map(|row| row.stages.keys()).map(String::as_str).collect();
            let in_order = project.pipeline.stages.iter().map(|stage| stage.family());
            let in_order: Vec<&str> = in_order.filter(|name| stages.contains(name)).collect();
            usual_metric(&known, &in_order)
        }
        Some(asked) => match find_metric(asked, &known) {
            Ok(metric) => Some(metric),
            Err(_) if known.is_empty() => None,
            Err(near) => {
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                console.warning(&format!("no combination has the metric `{asked}`{near}"));
                None
            }
        },
    };
    table(&finished, &asked.keys, metric, asked.ascending, &asked.over)
}

//! `pipe restore RUN`: restores the files that an earlier run published.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::{Project, locate, use_store};
use crate::console::Console;
use crate::console::log_view::restored as restored_lines;
use crate::console::view::json_lines;
use crate::files::scratch::Scratch;
use crate::pipeline::Overrides;
use crate::plan::Decision;
use crate::results::restore::{Rebuild, Restored, is_possible, restore};
use crate::results::run_log::find::find;
use crate::results::run_log::{LoggedOutput, LoggedRun};
use crate::store::index::Index;

#[derive(Debug, Args)]
pub struct RestoreOptions {
    /// The run: an id of `pipe log` or its beginning, `last`, or `last~1`
    run: String,
    /// Restore only these published paths, relative to the pipeline's folder
    paths: Vec<PathBuf>,
    /// Overwrite files that were edited
    #[arg(long)]
    force: bool,
    /// Print one JSON object per output
    #[arg(long)]
    json: bool,
}

pub fn execute(
    options: &RestoreOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let (root, store) = locate(globals)?;
    let run = find(&store, &options.run)?;
    let outputs = chosen(&run, &options.paths)?;
    let _in_use = use_store(&store, console)?;
    let scratch = Scratch::new(&store.scratch_folder())?;
    let index = Index::load(&store.index_file(), true);
    let mut restored = restore(&outputs, &root, options.force, &store, &index, &scratch)?;
    for (restored, output) in restored.iter_mut().zip(&outputs) {
        if restored.result == Restored::Gone {
            restored.rebuild = Some(rebuild(globals, &run, output));
        }
    }
    match options.json {
        true => console.json(&json_lines(&restored))?,
        false => restored_lines(&run.id, &restored).iter().for_each(|line| console.note(line)),
    }
    Ok(if is_possible(&restored) { Exit::Done } else { Exit::Failed })
}

fn chosen(run: &LoggedRun, paths: &[PathBuf]) -> Result<Vec<LoggedOutput>, Error> {
    if let Some(path) = paths.iter().find(|path| !run.published.iter().any(|o| o.path == **path)) {
        return Err(Error::NotPublished {
            run: run.id.clone(),
            path: path.clone(),
            known: run.published.iter().map(|output| output.path.clone()).collect(),
        });
    }
    let wanted = |output: &&LoggedOutput| paths.is_empty() || paths.contains(&output.path);
    Ok(run.published.iter().filter(wanted).cloned().collect())
}

/// Whether the current pipeline with the run's overrides would compute the same key.
fn rebuild(globals: &Globals, run: &LoggedRun, output: &LoggedOutput) -> Rebuild {
    let overrides = Overrides { set: run.set.clone(), profile: run.profile.clone() };
    let Ok(project) = Project::load(globals, &overrides) else { return Rebuild::PipelineChanged };
    let Ok(index) = project.stage_index(&output.stage) else { return Rebuild::PipelineChanged };
    let selected = project.graph.upstream(&[index]);
    let plan = project.plan(&selected, &BTreeSet::new(), &project.sources(true, true));
    let Ok(plan) = plan else { return Rebuild::PipelineChanged };
    let command = command(run, &output.stage);
    match plan.stages.into_iter().find(|planned| planned.stage == index).map(|p| p.decision) {
        Some(Decision::Run { key, .. }) if key == output.key => Rebuild::By(command),
        Some(Decision::Wait(_)) => Rebuild::PerhapsBy(command),
        _ => Rebuild::PipelineChanged,
    }
}

fn command(run: &LoggedRun, stage: &str) -> String {
    let mut command = "pipe run".to_owned();
    let mut add = |word: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=./:,@+".contains(&byte);
        command.push(' ');
        match !word.is_empty() && word.bytes().all(plain) {
            true => command.push_str(word),
            false => command.push_str(&format!("'{}'", word.replace('\'', r"'\''"))),
        }
    };
    for (key, value) in &run.set {
        add("--set");
        add(&format!("{key}={value}"));
    }
    if let Some(profile) = &run.profile {
        add("--profile");
        add(profile);
    }
    add(stage);
    command
}

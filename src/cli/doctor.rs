//! `pipe doctor`: checks the machine, the pipeline, the store and the network.

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::{Project, locate, pipeline_file};
use crate::console::Console;
use crate::console::doctor_view::FindingsView;
use crate::maintenance::doctor::{self, Finding, Severity};
use crate::pipeline::remotes::load_config;
use crate::text::figures::count;

#[derive(Debug, Args)]
pub struct DoctorOptions {
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Do not use the network
    #[arg(long)]
    offline: bool,
    /// Print one JSON object per finding
    #[arg(long)]
    json: bool,
}

pub fn execute(
    options: &DoctorOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let mut findings = vec![doctor::binary()];
    findings.extend(doctor::machine());
    findings.extend(doctor::accelerators());
    findings.push(pipeline(options, globals));
    let located = locate(globals).ok();
    findings.extend(located.as_ref().map(|(_, store)| doctor::store(store)));
    findings.extend(remotes(options, globals));
    let root = located.map(|(root, _)| root);
    findings.push(doctor::hub(
        &root.or(std::env::current_dir().ok()).unwrap_or_default(),
        options.offline,
    ));
    console.print(&FindingsView { findings: &findings }, options.json)?;
    let is_bad = findings.iter().any(|finding| finding.state == Severity::Bad);
    Ok(if is_bad { Exit::Failed } else { Exit::Done })
}

fn pipeline(options: &DoctorOptions, globals: &Globals) -> Finding {
    let Ok(file) = pipeline_file(globals) else {
        let text = "there is no `pipeline.yaml` here or in a folder above".to_owned();
        return Finding::new("pipeline", Severity::Note, text)
            .hint("`pipe init --data FILE` writes one");
    };
    match Project::load(globals, &options.overrides.overrides()) {
        Ok(project) => {
            let stages = count(project.pipeline.stages.len(), "stage");
            let text = format!("{}: {stages}, no problems", file.display());
            Finding::new("pipeline", Severity::Good, text)
        }
        Err(_) => Finding::new("pipeline", Severity::Bad, format!("{} is invalid", file.display()))
            .hint("`pipe status` shows where"),
    }
}

/// Checks the remotes of the pipeline, if it is valid, and of the user's configuration.
fn remotes(options: &DoctorOptions, globals: &Globals) -> Vec<Finding> {
    let config = match Project::load(globals, &options.overrides.overrides()) {
        Ok(project) => project.remotes(),
        Err(_) => load_config().map_err(Error::from),
    };
    match config {
        Ok(config) => {
            let names = config.remotes.keys();
            names.map(|name| doctor::remote(&config, name, options.offline)).collect()
        }
        Err(_) => {
            let text = "`~/.config/pipe/config.yaml` is invalid".to_owned();
            vec![Finding::new("remote", Severity::Bad, text).hint("`pipe push` shows where")]
        }
    }
}

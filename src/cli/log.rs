//! `pipe log`: lists the runs, newest first.

use std::path::PathBuf;

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::locate;
use crate::console::Console;
use crate::console::log_view::LogView;
use crate::results::run_log::RunLogError;
use crate::results::run_log::find::{ids, read};
use crate::results::{mlflow, tensorboard};
use crate::text::figures::count;

#[derive(Debug, Args)]
pub struct LogOptions {
    /// How many runs to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    number: usize,
    /// Write the metrics of the runs as event files for TensorBoard, a folder for each run
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
    /// Write the parameters and metrics of the runs as files of MLflow's file store
    #[arg(long, value_name = "DIR")]
    mlflow: Option<PathBuf>,
    /// Print one JSON object per run
    #[arg(long)]
    json: bool,
}

pub fn execute(options: &LogOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let (root, store) = locate(globals)?;
    let ids = ids(&store)?;
    if ids.is_empty() && !options.json {
        return Err(RunLogError::Empty.into());
    }
    let mut runs = Vec::new();
    for id in ids.iter().rev().take(options.number) {
        match read(&store, id) {
            Ok(run) => runs.push(run),
            // A damaged file must not hide the other runs.
            Err(error @ RunLogError::Damaged { .. }) => console.warning(&error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    let project = root.file_name().map_or_else(String::new, |it| it.display().to_string());
    for run in &runs {
        if let Some(folder) = &options.tensorboard {
            tensorboard::write(run, &store, folder)?;
        }
        if let Some(folder) = &options.mlflow {
            mlflow::write(run, &store, folder, &project)?;
        }
    }
    let written: Vec<&PathBuf> = options.tensorboard.iter().chain(&options.mlflow).collect();
    for folder in &written {
        console.note(&format!("wrote {} to {}", count(runs.len(), "run"), folder.display()));
    }
    if !written.is_empty() {
        return Ok(Exit::Done);
    }
    let older = ids.len().saturating_sub(options.number);
    console.print(&LogView { runs: &runs, older }, options.json)?;
    Ok(Exit::Done)
}

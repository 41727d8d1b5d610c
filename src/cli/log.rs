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
use crate::results::tensorboard;
use crate::text::figures::count;

#[derive(Debug, Args)]
pub struct LogOptions {
    /// How many runs to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    number: usize,
    /// Write the metrics of the runs as event files for TensorBoard, a folder for each run
    #[arg(long, value_name = "DIR")]
    tensorboard: Option<PathBuf>,
    /// Print one JSON object per run
    #[arg(long)]
    json: bool,
}

pub fn execute(options: &LogOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let (_, store) = locate(globals)?;
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
    if let Some(folder) = &options.tensorboard {
        for run in &runs {
            tensorboard::write(run, &store, folder)?;
        }
        let runs = count(runs.len(), "run");
        console.note(&format!("wrote {runs} to {}", folder.display()));
        return Ok(Exit::Done);
    }
    let older = ids.len().saturating_sub(options.number);
    console.print(&LogView { runs: &runs, older }, options.json)?;
    Ok(Exit::Done)
}

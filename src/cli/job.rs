//! `pipe job NAME PATH`, hidden: what a node of a cluster does for a stage.

use std::path::PathBuf;

use clap::Args;

use crate::cli::carry_out::binary;
use crate::error::Error;
use crate::executor::slurm::on_node::{self, OnNode};
use crate::exit::Exit;

#[derive(Debug, Args)]
pub struct JobOptions {
    /// The submission's name
    name: String,
    /// The stage's folder, or an array's list of folders
    path: PathBuf,
    /// Events go to standard output
    #[arg(long)]
    to_stdout: bool,
}

pub fn execute(options: &JobOptions) -> Result<Exit, Error> {
    let JobOptions { name, path, to_stdout } = options;
    let what = OnNode { name: name.clone(), path: path.clone(), to_stdout: *to_stdout };
    Ok(if on_node::execute(&what, &binary()?)? { Exit::Done } else { Exit::Failed })
}

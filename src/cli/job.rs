//! `pipe job NAME PATH`, hidden: runs a stage on a cluster node.

use std::path::PathBuf;

use clap::Args;

use crate::cli::carry_out::binary;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::executor::ExecutorError;
use crate::executor::slurm::by_remote::{self, ByRemote};
use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::on_node::{self, OnNode};
use crate::executor::slurm::parcel::RemoteSpec;
use crate::pipeline::remotes::load_config;

#[derive(Debug, Args)]
pub struct JobOptions {
    /// The submission's name
    name: String,
    /// The stage's folder, or an array's list of folders
    path: PathBuf,
    /// Write events to standard output
    #[arg(long)]
    to_stdout: bool,
    /// The remote that carries the stage's files; PATH is the name of its parcel
    #[arg(long, value_name = "REMOTE", conflicts_with = "to_stdout")]
    from: Option<String>,
}

pub fn execute(options: &JobOptions) -> Result<Exit, Error> {
    let JobOptions { name, path, to_stdout, from } = options;
    if let Some(from) = from {
        let spec =
            RemoteSpec::parse(from).ok_or(SlurmError::NoSpec).map_err(ExecutorError::from)?;
        let remote = spec.open(load_config()?)?;
        let parcel = path.to_string_lossy();
        by_remote::execute(&ByRemote { remote: &remote, name, parcel: &parcel }, &binary()?)?;
        return Ok(Exit::Done);
    }
    let what = OnNode { name: name.clone(), path: path.clone(), to_stdout: *to_stdout };
    Ok(if on_node::execute(&what, &binary()?)? { Exit::Done } else { Exit::Failed })
}

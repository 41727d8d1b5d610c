//! Picks the remote of a command: the one that `--remote` names, the user's default, or the only one.

use std::collections::BTreeSet;

use clap::Args;

use crate::cli::error::Error;
use crate::cli::options::{Globals, OverrideOptions};
use crate::cli::project::Project;
use crate::console::Console;
use crate::console::remote_view::{TransfersView, sum};
use crate::pipeline::StageIndex;
use crate::pipeline::remote_settings::{Config, Trust};
use crate::pipeline::remotes::load_config;
use crate::remote::transfer::StageTransfer;
use crate::remote::{Remote, RemoteError};

impl Project {
    /// The remotes that the pipeline and the user's configuration declare.
    pub fn remotes(&self) -> Result<Config, Error> {
        let of_project = Config { default: None, remotes: self.pipeline.remotes.clone() };
        Ok(of_project.with(load_config()?))
    }

    /// Opens the remote, if its `trust:` setting allows the command.
    pub fn remote(&self, named: Option<&str>, allowed: fn(Trust) -> bool) -> Result<Remote, Error> {
        let settings = self.remotes()?.pick(named)?;
        settings.check(allowed)?;
        Ok(Remote::open(settings)?)
    }

    /// Opens the remote of a run: the named one, or the user's default if there is one. A default
    /// that this project does not know is ignored: it may belong to another project.
    pub fn remote_of_run(&self, named: Option<&str>) -> Result<Option<Remote>, Error> {
        let remotes = self.remotes()?;
        if named.is_none() && remotes.default.is_none() {
            return Ok(None);
        }
        match remotes.pick(named) {
            Err(RemoteError::Unknown { .. } | RemoteError::NoUrl { .. }) if named.is_none() => {
                Ok(None)
            }
            settings => Ok(Some(Remote::open(settings?)?)),
        }
    }
}

/// What `pipe push` and `pipe pull` have in common.
#[derive(Debug, Args)]
pub struct TransferOptions {
    /// Transfer these stages and the stages that they need. Default: all stages
    stages: Vec<String>,
    /// The remote. Default: your default remote, or the only one
    #[arg(long, value_name = "NAME")]
    remote: Option<String>,
    #[command(flatten)]
    overrides: OverrideOptions,
    /// Print one JSON object per stage
    #[arg(long)]
    pub json: bool,
}

/// The project, stages and remote of a transfer.
pub struct TransferScope {
    pub project: Project,
    pub selected: BTreeSet<StageIndex>,
    pub remote: Remote,
}

impl TransferOptions {
    pub fn scope(
        &self,
        globals: &Globals,
        allowed: fn(Trust) -> bool,
    ) -> Result<TransferScope, Error> {
        let project = Project::load(globals, &self.overrides.overrides())?;
        let selected = project.select(&self.stages)?;
        let remote = project.remote(self.remote.as_deref(), allowed)?;
        Ok(TransferScope { project, selected, remote })
    }

    pub fn print(
        &self,
        transfers: &[StageTransfer],
        remote: &Remote,
        console: &Console,
    ) -> Result<(), Error> {
        let remote = remote.name();
        console.print(&TransfersView { transfers, remote }, self.json)?;
        if !self.json {
            console.note(&sum(transfers, remote));
        }
        Ok(())
    }
}

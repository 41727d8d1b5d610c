//! Picks the remote of a command: the one that `--remote` names, the user's default, or the only one.

use crate::cli::error::Error;
use crate::cli::project::Project;
use crate::console::Console;
use crate::console::remote_view::{TransfersView, sum};
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

/// Prints what was pushed or pulled, and for people the sum of it.
pub fn print_transfers(
    transfers: &[StageTransfer],
    remote: &str,
    json: bool,
    console: &Console,
) -> Result<(), Error> {
    console.print(&TransfersView { transfers, remote }, json)?;
    if !json {
        console.note(&sum(transfers, remote));
    }
    Ok(())
}

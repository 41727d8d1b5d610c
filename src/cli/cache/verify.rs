//! `pipe cache verify`: checks that everything in the store is as it was written.

use clap::Args;

use crate::cli::cache::gc::alone;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::{locate, use_store};
use crate::console::Console;
use crate::console::store_view::{CheckedView, after};
use crate::maintenance::check::{check, repair};
use crate::maintenance::gc::inventory::Inventory;

#[derive(Debug, Args)]
pub struct VerifyOptions {
    /// Move damaged objects into quarantine and remove damaged records, so that their stages rerun
    #[arg(long)]
    repair: bool,
    /// With `--repair`, wait for runs in progress to end instead of failing
    #[arg(long, requires = "repair")]
    wait: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn execute(
    options: &VerifyOptions,
    globals: &Globals,
    console: &Console,
) -> Result<Exit, Error> {
    let (_, store) = locate(globals)?;
    let store = &store;
    // Without a store there is nothing to verify, and taking the lock would create it.
    let _in_use = match store.root().exists() {
        false => None,
        true if options.repair => Some(alone(store, options.wait, console)?),
        true => Some(use_store(store, console)?),
    };
    let inventory = Inventory::read(store)?;
    let progress = console.progress("verifying", inventory.objects.values().sum());
    let checked = check(store, &inventory, &|bytes| progress.advance(bytes))?;
    drop(progress);
    let repaired = options.repair && !checked.findings.is_empty();
    if repaired {
        repair(store, &checked)?;
    }
    console.print(&CheckedView { checked: &checked, repaired }, options.json)?;
    if let Some(hint) = after(&checked, repaired, &store.quarantine_folder())
        && !options.json
    {
        console.hint(&hint);
    }
    Ok(if checked.findings.is_empty() || repaired { Exit::Done } else { Exit::Failed })
}

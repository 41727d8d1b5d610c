//! `pipe push`: uploads the results of the current pipeline, or of the whole store, to a remote.

use std::collections::BTreeSet;

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::{Project, use_store};
use crate::cli::remote::{TransferOptions, TransferScope};
use crate::console::Console;
use crate::pipeline::StageIndex;
use crate::pipeline::remote_settings::Trust;
use crate::plan::Decision;
use crate::remote::transfer::{StageTransfer, TransferOutcome, push};
use crate::store::record::Record;

#[derive(Debug, Args)]
pub struct PushOptions {
    #[command(flatten)]
    pub transfer: TransferOptions,
    /// Upload all results in the store, not only those of the current pipeline
    #[arg(long, conflicts_with = "stages")]
    all: bool,
    /// Upload even what the remote has already, to repair a damaged remote
    #[arg(long)]
    overwrite: bool,
}

pub fn execute(options: &PushOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let TransferScope { project, selected, remote } =
        options.transfer.scope(globals, Trust::pushes)?;
    let _in_use = use_store(&project.store, console)?;
    let mut others = Vec::new();
    let results = match options.all {
        true => everything(&project),
        false => of_pipeline(&project, &selected, &mut others)?,
    };
    let bytes = results.iter().flat_map(|(_, record)| record.outputs.values());
    let progress = console.transfer("pushing", bytes.map(|artifact| artifact.bytes).sum());
    let meter = |bytes| {
        progress.advance(bytes);
        Ok(())
    };
    let pushed = push(&results, &remote, &project.store, options.overwrite, &meter);
    drop(progress);
    let mut transfers = pushed?;
    transfers.extend(others);
    options.transfer.print(&transfers, &remote, console)?;
    Ok(Exit::Done)
}

/// The results of the stages that are up to date; stages that are not go into `others`.
fn of_pipeline(
    project: &Project,
    selected: &BTreeSet<StageIndex>,
    others: &mut Vec<StageTransfer>,
) -> Result<Vec<(String, Record)>, Error> {
    let plan = project.plan(selected, &BTreeSet::new(), &project.sources(true, true))?;
    let mut results = Vec::new();
    for planned in plan.stages {
        let name = &project.pipeline[planned.stage].name;
        match planned.decision {
            Decision::Hit(record) => results.push((name.clone(), *record)),
            Decision::Run { .. } | Decision::Wait(_) => {
                let message = Some("is not up to date".to_owned());
                others.push(StageTransfer::without(name, TransferOutcome::Absent, message));
            }
        }
    }
    Ok(results)
}

fn everything(project: &Project) -> Vec<(String, Record)> {
    let store = &project.store;
    let is_whole = |record: &Record| record.outputs.values().all(|artifact| store.holds(artifact));
    let mut records: Vec<Record> = store.records().into_iter().filter(is_whole).collect();
    records.sort_by(|a, b| (&a.when, &a.stage, a.key).cmp(&(&b.when, &b.stage, b.key)));
    records.into_iter().map(|record| (record.stage.clone(), record)).collect()
}

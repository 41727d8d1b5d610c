//! `pipe pull`: downloads the results of the current pipeline from a remote. It goes level by level,
//! since the key of a stage needs the digests of its inputs.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;

use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::options::Globals;
use crate::cli::project::{Project, use_store};
use crate::cli::remote::{TransferOptions, TransferScope};
use crate::console::Console;
use crate::files::scratch::Scratch;
use crate::pipeline::StageIndex;
use crate::pipeline::remote_settings::Trust;
use crate::plan::inputs::{FoundInputs, find_inputs};
use crate::plan::{Decision, decide};
use crate::remote::Remote;
use crate::remote::transfer::{StageTransfer, TransferOutcome, pull};
use crate::sources::Sources;
use crate::store::record::Artifact;

#[derive(Debug, Args)]
pub struct PullOptions {
    #[command(flatten)]
    pub transfer: TransferOptions,
    /// Show what the remote has, and download nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn execute(options: &PullOptions, globals: &Globals, console: &Console) -> Result<Exit, Error> {
    let TransferScope { project, selected, remote } =
        options.transfer.scope(globals, Trust::pulls)?;
    let sources = project.sources(true, true);
    let pull = |scratch| pull_levels(&project, &selected, &sources, &remote, scratch, console);
    let transfers = match options.dry_run {
        true => pull(None)?,
        false => {
            let _in_use = use_store(&project.store, console)?;
            let scratch = Scratch::new(&project.store.scratch_folder())?;
            project.store.hide(&scratch)?;
            let transfers = pull(Some(&scratch));
            // Without the index the next command reads the sources again.
            let _ = sources.index.save(&scratch);
            transfers?
        }
    };
    options.transfer.print(&transfers, &remote, console)?;
    Ok(Exit::Done)
}

fn pull_levels(
    project: &Project,
    selected: &BTreeSet<StageIndex>,
    sources: &Sources,
    remote: &Remote,
    scratch: Option<&Scratch>,
    console: &Console,
) -> Result<Vec<StageTransfer>, Error> {
    let (store, graph) = (&project.store, &project.graph);
    let mut levels: BTreeMap<usize, Vec<StageIndex>> = BTreeMap::new();
    for index in graph.order().iter().copied().filter(|index| selected.contains(index)) {
        levels.entry(graph.level(index)).or_default().push(index);
    }
    let mut outputs: BTreeMap<String, BTreeMap<String, Artifact>> = BTreeMap::new();
    let mut transfers = Vec::new();
    // The total grows as records arrive: only they tell the sizes.
    let progress = console.transfer("pulling", 0);
    let meter = |bytes| {
        progress.advance(bytes);
        Ok(())
    };
    let found = |bytes| progress.grow(bytes);
    for level in levels.into_values() {
        let mut wanted = Vec::new();
        for index in level {
            let stage = &project.pipeline[index];
            let artifact = |stage: &str, output: &str| outputs.get(stage)?.get(output).copied();
            let found = find_inputs(stage, &artifact, sources);
            let resolved = match found.map_err(|error| project.plan_error(error))? {
                FoundInputs::All(resolved) => resolved,
                FoundInputs::Incomplete { stages, downloads, .. } => {
                    let first = stages.into_iter().next();
                    let why = match (first, downloads.first()) {
                        (Some(maker), _) => {
                            format!("its key needs a result of `{maker}`, which is missing")
                        }
                        (None, Some(input)) => {
                            format!("`{input}` has to be downloaded first; `pipe run` does that")
                        }
                        (None, None) => String::new(),
                    };
                    transfers.push(StageTransfer::without(
                        &stage.name,
                        TransferOutcome::Absent,
                        Some(why),
                    ));
                    continue;
                }
            };
            match decide(stage, &resolved, false, sources, store) {
                Decision::Hit(record) => {
                    transfers.push(StageTransfer::without(
                        &stage.name,
                        TransferOutcome::There,
                        None,
                    ));
                    outputs.insert(stage.name.clone(), record.outputs.clone());
                }
                Decision::Run { key, .. } => wanted.push((stage.name.clone(), key)),
                Decision::Wait(_) => {}
            }
        }
        for (of_stage, record) in pull(&wanted, remote, store, scratch, (&found, &meter))? {
            if let Some(record) = record {
                outputs.insert(of_stage.stage.clone(), record.outputs);
            }
            transfers.push(of_stage);
        }
    }
    Ok(transfers)
}

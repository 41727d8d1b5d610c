//! Restores what an earlier run had published: all of it or, if an object is missing from the store
//! or a file was edited since, nothing. All copies are complete before the first replaces a file.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::files::file_error::FileError;
use crate::files::scratch::Scratch;
use crate::results::run_log::LoggedOutput;
use crate::run::ownership::{AtTarget, Target, look};
use crate::run::publish::{copy_out, put_in_place};
use crate::store::Store;
use crate::store::index::Index;

/// What became of one published output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RestoredOutput {
    pub path: PathBuf,
    /// `stage:output`.
    pub artifact: String,
    pub result: Restored,
    /// How to make an output that is missing from the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rebuild: Option<Rebuild>,
    /// Where the folder that was replaced is now, if the user had files of their own in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aside: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restored {
    /// The file has these bytes already.
    Unchanged,
    Written,
    /// The file was edited, and is kept.
    Edited,
    /// Something is there that was never published, so it is kept.
    Foreign,
    /// The output is no longer in the store.
    Gone,
    /// It could be restored, but other files could not, so nothing was.
    Held,
}

/// Whether an output that is missing from the store can be made again, and by which command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rebuild {
    By(String),
    /// By this command, if the stages before it produce the same bytes as they did then.
    PerhapsBy(String),
    /// The pipeline has changed, and would produce other bytes.
    PipelineChanged,
}

/// Restores all `outputs` to their paths below `root`, or none of them.
pub fn restore(
    outputs: &[LoggedOutput],
    root: &Path,
    overwrite: bool,
    store: &Store,
    index: &Index,
    scratch: &Scratch,
) -> Result<Vec<RestoredOutput>, FileError> {
    let (mut restored, mut seen) = (Vec::new(), Vec::new());
    for output in outputs {
        let target = Target { root, path: &output.path };
        let found = look(output.artifact.content, target, store, index)?;
        let result = match found.at {
            AtTarget::Wanted => Restored::Unchanged,
            _ if !store.holds(&output.artifact) => Restored::Gone,
            AtTarget::Foreign => Restored::Foreign,
            AtTarget::Edited if !overwrite => Restored::Edited,
            AtTarget::Edited | AtTarget::Replaceable => Restored::Held,
        };
        seen.push(found);
        restored.push(RestoredOutput {
            path: output.path.clone(),
            artifact: format!("{}:{}", output.stage, output.output),
            result,
            rebuild: None,
            aside: None,
        });
    }
    if !is_possible(&restored) {
        return Ok(restored);
    }
    let mut copies = Vec::new();
    for (place, output) in outputs.iter().enumerate() {
        if restored[place].result == Restored::Held {
            match copy_out(output.artifact.content, store, scratch)? {
                Ok(copy) => copies.push((place, copy)),
                Err(_) => restored[place].result = Restored::Gone,
            }
        }
    }
    if is_possible(&restored) {
        for (place, copy) in copies {
            let target = Target { root, path: &outputs[place].path };
            restored[place].aside = put_in_place(copy, target, &seen[place], store, scratch)?;
            restored[place].result = Restored::Written;
        }
    }
    Ok(restored)
}

/// Whether all of them can be restored.
pub fn is_possible(outputs: &[RestoredOutput]) -> bool {
    let stays = [Restored::Edited, Restored::Foreign, Restored::Gone];
    !outputs.iter().any(|output| stays.contains(&output.result))
}

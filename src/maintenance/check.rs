//! `cache verify`: reads every object, record and run log, and reports damage. A repair moves
//! damaged objects to quarantine, and removes damaged records and records of damaged or missing
//! objects, so that their stages run again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use stages::Kind;

use crate::files::digest::{Content, Digest};
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::Scratch;
use crate::files::tree::Tree;
use crate::maintenance::gc::inventory::Inventory;
use crate::results::run_log::{self, RunLogError};
use crate::store::Store;

/// What was read, and what is damaged.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Checked {
    pub objects: usize,
    pub records: usize,
    pub runs: usize,
    pub bytes: u64,
    pub findings: Vec<Finding>,
}

/// One damaged or dangling file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// Its bytes do not match its digest, or it cannot be read.
    DamagedObject {
        content: Content,
        problem: String,
    },
    DamagedRecord {
        file: PathBuf,
    },
    /// An intact record names an object that is missing, damaged or of another size.
    DanglingRecord {
        file: PathBuf,
        stage: String,
        output: String,
        content: Content,
    },
    DamagedRun {
        id: String,
        file: PathBuf,
    },
}

/// Reads everything. `read` is called from several threads with the number of bytes just read.
pub fn check(
    store: &Store,
    inventory: &Inventory,
    read: &(dyn Fn(u64) + Sync),
) -> Result<Checked, FileError> {
    let mut checked = Checked {
        objects: inventory.objects.len(),
        records: inventory.records.len() + inventory.damaged_records.len(),
        bytes: inventory.objects.values().sum(),
        ..Checked::default()
    };
    let objects: Vec<(Content, u64)> = inventory.objects.iter().map(|(c, b)| (*c, *b)).collect();
    let mut damaged: Vec<(Content, String)> = objects
        .into_par_iter()
        .filter_map(|(content, bytes)| {
            let problem = problem_of(content, &store.object(content));
            read(bytes);
            problem.map(|problem| (content, problem))
        })
        .collect();
    damaged.sort_unstable();
    let bad: BTreeSet<Content> = damaged.iter().map(|(content, _)| *content).collect();
    checked.findings.extend(
        damaged.into_iter().map(|(content, problem)| Finding::DamagedObject { content, problem }),
    );
    let damaged_records = inventory.damaged_records.iter().cloned();
    checked.findings.extend(damaged_records.map(|file| Finding::DamagedRecord { file }));
    for stored in &inventory.records {
        let dangling = stored.record.outputs.iter().find_map(|(output, artifact)| {
            let reached = inventory.reached(artifact);
            let hurt = reached.into_iter().find(|content| bad.contains(content));
            let missing = (!store.holds(artifact)).then_some(artifact.content);
            hurt.or(missing).map(|content| (output, content))
        });
        if let Some((output, content)) = dangling {
            checked.findings.push(Finding::DanglingRecord {
                file: stored.file.clone(),
                stage: stored.record.stage.clone(),
                output: output.clone(),
                content,
            });
        }
    }
    for id in run_log::ids(store)? {
        checked.runs += 1;
        match run_log::read(store, &id) {
            Ok(_) => {}
            Err(RunLogError::File(error)) => return Err(error),
            Err(_) => {
                let file = store.run_file(&id);
                checked.findings.push(Finding::DamagedRun { id, file });
            }
        }
    }
    Ok(checked)
}

fn problem_of(content: Content, object: &Path) -> Option<String> {
    match Digest::of_file(object) {
        Err(error) => Some(error.source.to_string()),
        Ok(found) if found != content.digest => Some("its bytes have changed".to_owned()),
        Ok(_) if content.kind == Kind::Folder => {
            let text = fs::read_to_string(object).ok();
            let tree = text.as_deref().and_then(Tree::parse);
            tree.is_none().then(|| "it is not the listing of a folder".to_owned())
        }
        Ok(_) => None,
    }
}

/// Removes everything that was found: records first, so that none names a missing object. The
/// caller has exclusive use of the store.
pub fn repair(store: &Store, checked: &Checked, scratch: &Scratch) -> Result<(), FileError> {
    for finding in &checked.findings {
        if let Finding::DamagedRecord { file }
        | Finding::DanglingRecord { file, .. }
        | Finding::DamagedRun { file, .. } = finding
        {
            disk::remove_file(file).map_err(FileError::at("removing", file))?;
        }
    }
    for finding in &checked.findings {
        if let Finding::DamagedObject { content, .. } = finding {
            store.quarantine(*content, scratch)?;
        }
    }
    Ok(())
}

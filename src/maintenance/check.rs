//! `cache verify`: reads every object, record and run log, and reports damage. A repair moves
//! damaged objects, and whatever stands in the way, to quarantine, and removes damaged records and records of damaged or missing
//! objects, so that their stages run again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;
use stages::Kind;

use crate::files::digest::{Content, Digest};
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::regular::read_text;
use crate::files::scratch::Scratch;
use crate::files::tree::Tree;
use crate::maintenance::gc::inventory::Inventory;
use crate::results::run_log::find;
use crate::store::Store;
use crate::store::obstacles::Obstacle;

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
    /// Something stands where a file or a folder of the store belongs, or cannot be read.
    Obstacle(Obstacle),
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
    let is_obstacle =
        |path: &Path| inventory.obstacles.iter().any(|obstacle| obstacle.path == path);
    let objects = inventory.objects.iter().map(|(content, bytes)| (*content, *bytes));
    let objects: Vec<(Content, u64)> =
        objects.filter(|(content, _)| !is_obstacle(&store.object(*content))).collect();
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
    let obstacles = inventory.obstacles.iter().chain(&inventory.unreadable);
    checked.findings.extend(obstacles.cloned().map(Finding::Obstacle));
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
    let ids = if is_obstacle(&store.runs_folder()) { Vec::new() } else { find::ids(store)? };
    for id in ids {
        checked.runs += 1;
        let file = store.run_file(&id);
        if !is_obstacle(&file) && find::read(store, &id).is_err() {
            checked.findings.push(Finding::DamagedRun { id, file });
        }
    }
    Ok(checked)
}

fn problem_of(content: Content, object: &Path) -> Option<String> {
    match Digest::of_file(object) {
        Err(error) => Some(error.source.to_string()),
        Ok(found) if found != content.digest => Some("its bytes have changed".to_owned()),
        Ok(_) if content.kind == Kind::Folder => {
            let text = read_text(object).ok();
            let tree = text.as_deref().and_then(Tree::parse);
            tree.is_none().then(|| "it is not the listing of a folder".to_owned())
        }
        Ok(_) => None,
    }
}

/// Removes everything that was found: records first, so that none names a missing object. The
/// caller has exclusive use of the store.
pub fn repair(store: &Store, checked: &Checked) -> Result<(), FileError> {
    for finding in &checked.findings {
        if let Finding::Obstacle(Obstacle { path, .. }) = finding {
            store.set_aside(path)?;
        }
    }
    let scratch = &Scratch::new(&store.scratch_folder())?;
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

//! `cache du`: disk usage by stage and output.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::files::digest::Content;
use crate::files::file_error::FileError;
use crate::maintenance::gc::Collection;
use crate::maintenance::gc::inventory::Inventory;
use crate::maintenance::gc::leftovers::bytes_below;
use crate::store::Store;

/// The size of the store, in bytes of file content.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    pub outputs: Vec<OutputUsage>,
    pub results: usize,
    pub objects: usize,
    pub object_bytes: u64,
    /// What a plain `cache gc` would free.
    pub gc_frees_bytes: u64,
    /// Checkpoints, logs, downloads and the like, by folder of the store.
    pub besides: BTreeMap<&'static str, u64>,
}

/// An output of a stage, over all its results.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutputUsage {
    pub stage: String,
    pub output: String,
    pub results: usize,
    /// The size of its objects, each counted once.
    pub bytes: u64,
    /// The size of its objects that another output shares.
    pub shared_bytes: u64,
    /// The size of its objects that a plain `cache gc` would remove.
    pub gc_frees_bytes: u64,
}

const BESIDES: [&str; 8] =
    ["downloads", "state", "continuations", "listings", "logs", "runs", "quarantine", "tmp"];

/// Adds up the usage. `collection` is what a plain `cache gc` would remove.
pub fn usage(
    inventory: &Inventory,
    collection: &Collection,
    store: &Store,
) -> Result<Usage, FileError> {
    let mut objects: BTreeMap<(&str, &str), (usize, BTreeSet<Content>)> = BTreeMap::new();
    for stored in &inventory.records {
        for (output, artifact) in &stored.record.outputs {
            let of = objects.entry((&stored.record.stage, output)).or_default();
            of.0 += 1;
            of.1.extend(inventory.reached(artifact));
        }
    }
    let mut users: BTreeMap<Content, usize> = BTreeMap::new();
    for content in objects.values().flat_map(|(_, contents)| contents) {
        *users.entry(*content).or_default() += 1;
    }
    let sum = |contents: &BTreeSet<Content>, counts: &dyn Fn(&Content) -> bool| -> u64 {
        let counted = contents.iter().filter(|content| counts(content));
        counted.map(|content| inventory.bytes(*content)).sum()
    };
    let of_output =
        |((stage, output), (results, contents)): (&(&str, &str), &(usize, _))| OutputUsage {
            stage: (*stage).to_owned(),
            output: (*output).to_owned(),
            results: *results,
            bytes: sum(contents, &|_| true),
            shared_bytes: sum(contents, &|content| users[content] > 1),
            gc_frees_bytes: sum(contents, &|content| collection.removed_objects.contains(content)),
        };
    let mut outputs: Vec<OutputUsage> = objects.iter().map(of_output).collect();
    outputs.sort_by_key(|output| std::cmp::Reverse(output.bytes));
    let mut besides = BTreeMap::new();
    for folder in BESIDES {
        let bytes = bytes_below(&store.root().join(folder))?;
        if bytes > 0 {
            besides.insert(folder, bytes);
        }
    }
    Ok(Usage {
        outputs,
        results: inventory.records.len(),
        objects: inventory.objects.len(),
        object_bytes: inventory.objects.values().sum(),
        gc_frees_bytes: collection.totals.removed_bytes + collection.totals.leftover_bytes,
        besides,
    })
}

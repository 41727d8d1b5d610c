//! The state of the files that `pipe watch` polls: the pipeline's file and its local sources. Polling
//! also works on network file systems and in containers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::files::stamp::Stamp;
use crate::pipeline::{Input, Pipeline};

/// The stamp of each file at one moment; `None` where there is no file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, Option<Stamp>>);

impl Snapshot {
    /// Takes a snapshot of the pipeline's file and, if the pipeline is valid, its sources.
    pub fn of(file: &Path, pipeline: Option<&Pipeline>) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.add(file);
        for stage in pipeline.into_iter().flat_map(|pipeline| &pipeline.stages) {
            for input in stage.inputs.values() {
                if let Input::Path(path) = input {
                    snapshot.add(path);
                }
            }
        }
        snapshot
    }

    /// A new snapshot of the same paths.
    pub fn again(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.0.keys().for_each(|path| snapshot.add(path));
        snapshot
    }

    fn add(&mut self, path: &Path) {
        if !path.is_dir() {
            let stamp = std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
            self.0.insert(path.to_owned(), stamp);
            return;
        }
        // A folder's own stamp is left out: on some file systems reading changes it.
        for entry in WalkDir::new(path).follow_links(true).into_iter().flatten() {
            let stamp = entry.metadata().ok().filter(|it| it.is_file()).map(|it| Stamp::of(&it));
            self.0.insert(entry.into_path(), stamp);
        }
    }

    /// The first path that was changed, added or removed since this snapshot.
    pub fn first_change(&self, now: &Snapshot) -> Option<PathBuf> {
        let changed = now.0.iter().find(|(path, stamp)| self.0.get(*path) != Some(stamp));
        let gone = || self.0.keys().find(|path| !now.0.contains_key(*path));
        changed.map(|(path, _)| path).or_else(gone).cloned()
    }
}

//! The state of the files that `pipe watch` polls: the pipeline's file and its local sources. Polling
//! also works on network file systems and in containers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::files::stamp::Stamp;

/// The stamp of each file at one moment; `None` for a folder, and where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The files and folders that are polled.
    polled: BTreeSet<PathBuf>,
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
}

impl Snapshot {
    /// Takes a snapshot of the pipeline's file, and then of the sources that it names.
    pub fn of(file: &Path, sources: impl FnOnce() -> BTreeSet<PathBuf>) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.add(file);
        sources().iter().for_each(|source| snapshot.add(source));
        snapshot
    }

    /// A new snapshot of the same paths.
    pub fn again(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        self.polled.iter().for_each(|path| snapshot.add(path));
        snapshot
    }

    fn add(&mut self, path: &Path) {
        self.polled.insert(path.to_owned());
        if !path.is_dir() {
            let stamp = std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
            self.stamps.insert(path.to_owned(), stamp);
            return;
        }
        // A folder's own stamp is left out: on some file systems reading changes it.
        for entry in WalkDir::new(path).follow_links(true).into_iter().flatten() {
            let stamp = entry.metadata().ok().filter(|it| it.is_file()).map(|it| Stamp::of(&it));
            self.stamps.insert(entry.into_path(), stamp);
        }
    }

    /// The first path that was changed, added or removed since this snapshot.
    pub fn first_change(&self, now: &Snapshot) -> Option<PathBuf> {
        let changed = now.stamps.iter().find(|(path, stamp)| self.stamps.get(*path) != Some(stamp));
        let gone = || self.stamps.keys().find(|path| !now.stamps.contains_key(*path));
        changed.map(|(path, _)| path).or_else(gone).cloned()
    }
}

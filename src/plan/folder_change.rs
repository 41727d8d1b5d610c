//! The files that differ between two listings of a folder, so that a reason can name them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::files::tree::{Tree, TreeFile};

/// The files of a folder that differ. Each list is sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FolderChange {
    pub changed: Vec<String>,
    pub added: Vec<String>,
    pub removed: Vec<String>,
    /// How many further files differ.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: usize,
}

/// How many files to list at most; nobody reads more.
const LISTED: usize = 100;

impl FolderChange {
    pub fn between(from: &Tree, to: &Tree) -> FolderChange {
        let mut change = FolderChange::default();
        let (from, to) = (entries(from), entries(to));
        let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
        let mut listed = 0;
        for path in paths {
            let list = match (from.get(path), to.get(path)) {
                (Some(from), Some(to)) if from == to => continue,
                (Some(_), Some(_)) => &mut change.changed,
                (None, _) => &mut change.added,
                (_, None) => &mut change.removed,
            };
            if listed < LISTED {
                list.push(path.clone());
                listed += 1;
            } else {
                change.more += 1;
            }
        }
        change
    }

    fn len(&self) -> usize {
        self.changed.len() + self.added.len() + self.removed.len() + self.more
    }
}

/// The files of a folder, and its empty folders, whose names end with `/`.
fn entries(tree: &Tree) -> BTreeMap<String, Option<TreeFile>> {
    let files = tree.files.iter().map(|(path, file)| (path.clone(), Some(*file)));
    let folders = tree.empty_folders.iter().map(|path| (format!("{path}/"), None));
    files.chain(folders).collect()
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// `config.json (and 2 more)`, `b.txt added`.
impl fmt::Display for FolderChange {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let first =
            |list: &[String]| list.first().map(|path| crate::text::terminal::printable(path));
        if let Some(path) = first(&self.changed) {
            write!(f, "{path}")?;
        } else if let Some(path) = first(&self.added) {
            write!(f, "{path} added")?;
        } else if let Some(path) = first(&self.removed) {
            write!(f, "{path} removed")?;
        }
        match self.len() {
            0 | 1 => Ok(()),
            all => write!(f, " (and {} more)", all - 1),
        }
    }
}

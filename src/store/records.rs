//! Reading records: from their own files, or from the copies that a run with many of them keeps.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::de::IgnoredAny;

use crate::files::file_error::FileError;
use crate::files::regular;
use crate::files::scratch::Scratch;
use crate::files::stamp::{Stamp, file_clock_ns};
use crate::store::Store;
use crate::store::key::{Key, KeyFields};
use crate::store::record::{Record, is_whole};

impl Store {
    /// The record of a key; `None` if it does not exist or is damaged.
    pub fn record(&self, key: Key) -> Option<Record> {
        let (text, _) = whole_text(&self.record_file(key))?;
        Record::parse_whole(&text, key)
    }

    /// As [`Store::record`], where the fields of the key are known: reading them again takes as long as
    /// all the rest. The rest may come from the copies.
    pub fn record_of(&self, key: Key, fields: &Arc<KeyFields>) -> Option<Record> {
        let path = self.record_file(key);
        let copy = self.bundle.find(key, &path, &self.bundle_file());
        let record = copy.or_else(|| {
            let began_ns = file_clock_ns();
            let (text, stamp) = whole_text(&path)?;
            let record = Record::<IgnoredAny>::parse_whole(&text, key)?.with_fields(());
            self.bundle.learn(&record, stamp, began_ns);
            Some(record)
        });
        Some(record?.with_fields(Arc::clone(fields)))
    }

    /// The stamp of the file of a record that [`Store::record_of`] has found.
    pub(super) fn stamp_of(&self, key: Key) -> Option<Stamp> {
        self.bundle.stamp(key)
    }

    /// Begins to read the copies, for a command that will need them.
    pub fn read_ahead(&self) {
        let store = self.clone();
        rayon::spawn(move || {
            store.bundle.known(&store.bundle_file());
        });
    }

    /// Keeps copies of the records that were read, if reading those will save much.
    pub fn save_bundle(&self, scratch: &Scratch) -> Result<(), FileError> {
        self.bundle.save(&self.bundle_file(), |key| self.record_file(key), scratch)
    }
}

/// The text of a record's file, and its stamp; `None` if it is damaged.
fn whole_text(path: &Path) -> Option<(String, Stamp)> {
    let mut text = String::new();
    let mut file = regular::open(path).ok()?;
    file.read_to_string(&mut text).ok()?;
    is_whole(&text).then_some(())?;
    Some((text, Stamp::of(&file.metadata().ok()?)))
}

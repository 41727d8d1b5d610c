//! Reading records: from their own files, or from the copies that a run with many of them keeps.

use std::io::Read;
use std::sync::Arc;

use serde::de::{DeserializeOwned, IgnoredAny};

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
        self.read_record(key)
    }

    /// As [`Store::record`], where the fields of the key are known: reading them again takes as long as
    /// all the rest.
    pub fn record_of(&self, key: Key, fields: &Arc<KeyFields>) -> Option<Record> {
        let record: Record<IgnoredAny> = self.read_record(key)?;
        Some(record.with_fields(Arc::clone(fields)))
    }

    fn read_record<F: DeserializeOwned>(&self, key: Key) -> Option<Record<F>> {
        let path = self.record_file(key);
        if let Some(text) = self.bundle.find(key, &path, &self.bundle_file()) {
            return Record::parse_whole(text, key);
        }
        let (began_ns, mut text) = (file_clock_ns(), String::new());
        let mut file = regular::open(&path).ok()?;
        file.read_to_string(&mut text).ok()?;
        let record = is_whole(&text).then(|| Record::parse_whole(&text, key))??;
        self.bundle.learn(key, Stamp::of(&file.metadata().ok()?), text, began_ns);
        Some(record)
    }

    /// Keeps copies of the records that were read, if reading those will save much.
    pub fn save_bundle(&self, scratch: &Scratch) -> Result<(), FileError> {
        self.bundle.save(&self.bundle_file(), |key| self.record_file(key), scratch)
    }
}

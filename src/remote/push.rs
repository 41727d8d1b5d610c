//! From the store to a remote: the files of a result, listings, then the record, so that a record
//! never names an object that is not there. What is there already is not uploaded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use stages::Kind;

use crate::files::digest::Content;
use crate::files::file_error::FileError;
use crate::remote::parallel::{OBJECTS, each};
use crate::remote::pull::{Moved, Offer};
use crate::remote::{Meter, Remote, Trouble, object_name, record_name, sign};
use crate::store::Store;
use crate::store::record::Record;

impl Remote {
    /// Uploads a result of the store. With `overwrite` also what is there already.
    pub fn push(
        &self,
        record: &Record,
        store: &Store,
        overwrite: bool,
        meter: &Meter,
    ) -> Result<Moved, Trouble> {
        let mut files: BTreeMap<Content, u64> = BTreeMap::new();
        let mut trees: BTreeMap<Content, u64> = BTreeMap::new();
        for artifact in record.outputs.values() {
            let content = artifact.content;
            match content.kind {
                Kind::File => drop(files.insert(content, artifact.bytes)),
                Kind::Folder => {
                    let damaged = || Trouble::DamagedHere(content.digest.short());
                    let tree = store.tree(content).ok_or_else(damaged)?;
                    trees.insert(content, tree.to_text().len() as u64);
                    let of_tree = tree.0.values();
                    files.extend(of_tree.map(|file| (Content::file(file.digest), file.bytes)));
                }
            }
        }
        let (objects, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        for stratum in [files, trees] {
            let stratum: Vec<(Content, u64)> = stratum.into_iter().collect();
            each(&stratum, OBJECTS, |(content, size)| -> Result<(), Trouble> {
                if self.push_object(*content, *size, store, overwrite, meter)? {
                    objects.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(*size, Ordering::Relaxed);
                }
                Ok(())
            })?;
        }
        let record = self.push_record(record, store, overwrite)?;
        Ok(Moved { record, objects: objects.into_inner(), bytes: bytes.into_inner() })
    }

    /// Whether it had to be uploaded.
    fn push_object(
        &self,
        content: Content,
        size: u64,
        store: &Store,
        overwrite: bool,
        meter: &Meter,
    ) -> Result<bool, Trouble> {
        let name = object_name(store, content);
        if !overwrite && !self.is_damaged(&name) && self.bucket.size(&name)? == Some(size) {
            meter(size)?;
            return Ok(false);
        }
        let (file, notes) = (store.object(content), store.partial_folder());
        self.bucket.upload(&name, &file, content.digest, &notes, meter)?;
        Ok(true)
    }

    /// One that is there and would be used is left: two that computed the same both have it right.
    /// The answer says whether it was written.
    fn push_record(
        &self,
        record: &Record,
        store: &Store,
        overwrite: bool,
    ) -> Result<bool, Trouble> {
        if !overwrite && let Offer::Record(there) = self.ask(record.key, store)? {
            // One that names other objects, which may not be whole there, is replaced.
            if there.outputs == record.outputs {
                return Ok(false);
            }
        }
        let file = store.record_file(record.key);
        let bytes = std::fs::read(&file).map_err(FileError::at("reading", &file))?;
        let name = record_name(store, record.key);
        if let Some(secret) = &self.settings.secret {
            let signature = sign::sign(secret, record.key, &bytes);
            self.bucket.write(&sign::name(&name, &bytes), signature.as_bytes())?;
        }
        self.bucket.write(&name, &bytes)?;
        Ok(true)
    }

    fn is_damaged(&self, name: &str) -> bool {
        let damaged = self.damaged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        damaged.contains(name)
    }
}

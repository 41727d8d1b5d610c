//! Moving results from the store to a remote: files, then listings, then the record, so that a
//! record never names an object that does not exist. Objects that the remote has already are not
//! uploaded.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use stages::Kind;

use crate::files::digest::Content;
use crate::files::file_error::FileError;
use crate::remote::bucket::OnBytes;
use crate::remote::error::Trouble;
use crate::remote::parallel::{OBJECTS, each};
use crate::remote::pull::{Moved, Offer};
use crate::remote::{Remote, object_name, record_name, sign};
use crate::store::Store;
use crate::store::record::Record;

impl Remote {
    /// Uploads a result of the store. With `overwrite`, replaces objects that exist already.
    pub fn push(
        &self,
        record: &Record,
        store: &Store,
        overwrite: bool,
        on_bytes: &OnBytes,
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
                    let of_tree = tree.files.values();
                    files.extend(of_tree.map(|file| (file.content(), file.bytes)));
                }
            }
        }
        let (objects, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        for stratum in [files, trees] {
            let stratum: Vec<(Content, u64)> = stratum.into_iter().collect();
            each(&stratum, OBJECTS, |(content, size)| -> Result<(), Trouble> {
                if self.push_object(*content, *size, store, overwrite, on_bytes)? {
                    objects.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(*size, Ordering::Relaxed);
                }
                Ok(())
            })?;
        }
        let record = self.push_record(record, store, overwrite)?;
        Ok(Moved { record, objects: objects.into_inner(), bytes: bytes.into_inner() })
    }

    /// Uploads an object unless it exists already; returns whether it did.
    fn push_object(
        &self,
        content: Content,
        size: u64,
        store: &Store,
        overwrite: bool,
        on_bytes: &OnBytes,
    ) -> Result<bool, Trouble> {
        let name = object_name(store, content);
        if !overwrite && !self.is_damaged(&name) && self.bucket.size(&name)? == Some(size) {
            on_bytes(size)?;
            return Ok(false);
        }
        let (file, notes) = (store.object(content), store.partial_folder());
        self.bucket.upload(&name, &file, content.digest, &notes, on_bytes)?;
        Ok(true)
    }

    /// Uploads a record unless the remote has a valid one for the key; returns whether it did. Two
    /// processes that computed the same key are both right.
    fn push_record(
        &self,
        record: &Record,
        store: &Store,
        overwrite: bool,
    ) -> Result<bool, Trouble> {
        if !overwrite && let Offer::Record(there) = self.ask(record.key, store)? {
            // A record that names other objects is replaced: these may be incomplete there.
            if there.outputs == record.outputs {
                return Ok(false);
            }
        }
        let file = store.record_file(record.key);
        let bytes = std::fs::read(&file).map_err(FileError::in_store("reading", &file))?;
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

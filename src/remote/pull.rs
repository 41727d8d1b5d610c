//! Moving results from a remote to the store. A record is checked against its key, then each of its
//! objects is downloaded and verified, and the record is written last. So the store is right after
//! a kill at any moment, and the next pull resumes.

use std::collections::BTreeSet;

use stages::Kind;

use crate::files::digest::{Content, Digest};
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::scratch::{Scratch, rename_into};
use crate::files::tree::{Tree, TreeFile};
use crate::remote::bucket::OnBytes;
use crate::remote::error::Trouble;
use crate::remote::parallel::{OBJECTS, each};
use crate::remote::partial::Partial;
use crate::remote::{Remote, object_name, record_name, sign};
use crate::store::Store;
use crate::store::key::Key;
use crate::store::record::{Artifact, Record};
use crate::text::variants::family;

/// The size limits of records and listings in bytes, since they are read as a whole.
const MOST_RECORD: u64 = 64 << 20;
const MOST_TREE: u64 = 1 << 30;

/// Downloads of at least this many bytes can be resumed.
const LARGE: u64 = 1 << 20;

/// How often to try an object that arrives with wrong bytes or ends too soon.
const TRIES: u32 = 3;

/// What a remote has for a key.
#[derive(Debug)]
pub enum Offer {
    Nothing,
    /// A record of that key, signed if a secret is set. Its objects have not been checked yet.
    Record(Box<Record>),
    /// A record that must not be used.
    Refused(Refusal),
}

/// Why a record of a remote must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("is damaged, or of another key")]
    NotOfKey,
    #[error("is not signed")]
    Unsigned,
    #[error("is signed with another secret")]
    WronglySigned,
}

/// What a push or a pull has moved for one result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub record: bool,
    pub objects: u64,
    pub bytes: u64,
}

impl Remote {
    /// Requests the record of a key.
    pub fn ask(&self, key: Key, store: &Store) -> Result<Offer, Trouble> {
        let name = record_name(store, key);
        let bytes = match self.bucket.read(&name, MOST_RECORD) {
            Err(Trouble::Damaged { .. }) => return Ok(Offer::Refused(Refusal::NotOfKey)),
            other => other?,
        };
        let Some(bytes) = bytes else { return Ok(Offer::Nothing) };
        if let Some(secret) = &self.settings.secret {
            let signature = match self.bucket.read(&sign::name(&name, &bytes), 1024) {
                Err(Trouble::Damaged { .. }) => return Ok(Offer::Refused(Refusal::WronglySigned)),
                other => other?,
            };
            match signature {
                None => return Ok(Offer::Refused(Refusal::Unsigned)),
                Some(signature) if sign::is_signed(secret, key, &bytes, &signature) => {}
                Some(_) => return Ok(Offer::Refused(Refusal::WronglySigned)),
            }
        }
        let record = String::from_utf8(bytes).ok().and_then(|text| Record::parse(&text, key));
        Ok(match record.filter(is_of_key) {
            Some(record) => Offer::Record(Box::new(record)),
            None => Offer::Refused(Refusal::NotOfKey),
        })
    }

    /// Downloads the objects of a record that the store lacks, then writes the record.
    pub fn pull(
        &self,
        record: &Record,
        store: &Store,
        scratch: &Scratch,
        on_bytes: &OnBytes,
    ) -> Result<Moved, Trouble> {
        let mut moved = Moved { record: true, ..Moved::default() };
        let mut files: BTreeSet<TreeFile> = BTreeSet::new();
        let mut trees: Vec<(Content, Tree)> = Vec::new();
        for artifact in record.outputs.values() {
            match artifact.content.kind {
                Kind::File => drop(files.insert(artifact.file())),
                Kind::Folder => {
                    let tree = match store.tree(artifact.content) {
                        Some(tree) => tree,
                        None => {
                            moved.objects += 1;
                            self.tree(artifact.content, store)?
                        }
                    };
                    if tree.bytes() != artifact.bytes {
                        return Err(self.damaged(object_name(store, artifact.content)));
                    }
                    files.extend(tree.files.values());
                    trees.push((artifact.content, tree));
                }
            }
        }
        let files: Vec<TreeFile> =
            files.into_iter().filter(|file| !store.holds(&Artifact::of(*file))).collect();
        moved.objects += files.len() as u64;
        moved.bytes += files.iter().map(|file| file.bytes).sum::<u64>();
        each(&files, OBJECTS, |file| self.file(*file, store, scratch, on_bytes))?;
        for (content, tree) in trees {
            let temporary = scratch.path()?;
            disk::write_new(&temporary, tree.to_text().as_bytes())
                .map_err(FileError::in_store("writing", &temporary))?;
            store.place(&temporary, content, false)?;
        }
        store.mark_stage(family(&record.stage), record.key)?;
        store.write_record(record, scratch, false)?;
        Ok(moved)
    }

    /// How many bytes a pull of this record would download at most. Whole artifacts count, since
    /// the listings are not known yet.
    pub fn missing_bytes(&self, record: &Record, store: &Store) -> u64 {
        let missing = record.outputs.values().filter(|artifact| !store.holds(artifact));
        missing.map(|artifact| artifact.bytes).sum()
    }

    fn tree(&self, content: Content, store: &Store) -> Result<Tree, Trouble> {
        let name = object_name(store, content);
        let bytes = self.bucket.read(&name, MOST_TREE)?;
        let right = bytes.filter(|bytes| Digest::of_bytes(bytes) == content.digest);
        let tree = right.and_then(|bytes| Tree::parse(std::str::from_utf8(&bytes).ok()?));
        tree.ok_or_else(|| self.damaged(name))
    }

    /// Downloads one object into the store.
    pub(super) fn file(
        &self,
        file: TreeFile,
        store: &Store,
        scratch: &Scratch,
        on_bytes: &OnBytes,
    ) -> Result<(), Trouble> {
        let content = file.content();
        let name = object_name(store, content);
        if file.bytes >= LARGE {
            return self.large_file(file, &name, store, scratch, on_bytes);
        }
        for _ in 0..TRIES {
            let bytes = match self.bucket.read(&name, file.bytes) {
                Err(Trouble::Damaged { .. }) => break,
                other => other?,
            };
            let Some(bytes) = bytes else { break };
            if Digest::of_bytes(&bytes) == file.digest {
                let temporary = scratch.path()?;
                disk::write_new(&temporary, &bytes)
                    .map_err(FileError::in_store("writing", &temporary))?;
                store.place(&temporary, content, false)?;
                return on_bytes(file.bytes);
            }
        }
        Err(self.damaged(name))
    }

    fn large_file(
        &self,
        file: TreeFile,
        name: &str,
        store: &Store,
        scratch: &Scratch,
        on_bytes: &OnBytes,
    ) -> Result<(), Trouble> {
        let path = store.partial_folder().join(file.digest.to_string());
        for _ in 0..TRIES {
            let mut partial = Partial::open(path.clone(), (name, file.bytes), on_bytes, scratch)?;
            let began_at = partial.length;
            if partial.length < file.bytes {
                let fetched = self.bucket.fetch(name, partial.length, file.bytes, &mut partial);
                match fetched {
                    Ok(true) => {}
                    Ok(false) => break,
                    // The object is too long, or does not continue what is there.
                    Err(Trouble::Damaged { .. }) => {
                        partial.remove()?;
                        continue;
                    }
                    Err(other) => return Err(other),
                }
            }
            if partial.length < file.bytes {
                if partial.length == began_at {
                    break;
                }
                continue;
            }
            if partial.digest() == file.digest {
                // It is locked, so nobody else writes to it.
                let whole = scratch.path()?;
                rename_into(&partial.path, &whole)
                    .map_err(FileError::in_store("moving", &whole))?;
                return Ok(store.place(&whole, file.content(), false)?);
            }
            partial.remove()?;
        }
        Err(self.damaged(name.to_owned()))
    }

    /// Notes that an object is damaged, so that a later push replaces it.
    fn damaged(&self, name: String) -> Trouble {
        let mut damaged = self.damaged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        damaged.insert(name.clone());
        Trouble::Damaged { name }
    }
}

/// Whether a record belongs to its key: its fields hash to the key, and its outputs are those that
/// the fields declare.
fn is_of_key(record: &Record) -> bool {
    record.fields.key() == record.key && record.outputs.keys().eq(record.fields.outputs.iter())
}

//! Remotes: other places that hold results, laid out as the store is. A folder (NFS), a bucket of
//! S3 or of a store that speaks it, or a web server, which can only be read.
//!
//! ```text
//! objects/ab/<digest>              a file
//! objects/ab/<digest>.tree         a folder's listing, written after its files
//! records/ab/<key>.json            what a run of that key produced, written last
//! records/ab/<key>.<digest>.sig    the signature of the record with that digest
//! jobs/<name>.json                 what travels to a node that does not see the store, and back
//! tmp/                             of a folder: what is not written whole yet
//! ```
//!
//! [`settings`] says which remotes there are, [`Bucket`] is how bytes move to and from one, [`push`]
//! and [`pull`] move results. Nothing that comes from a remote is believed: an object counts when
//! its bytes have its digest, a record when its fields have its key and, with a shared secret, when
//! it is signed with that. The runtime of asynchronous code is known to `object` only.
//!
//! Two that push the same at once do each other no harm: an object's name says its bytes, and of two
//! records of one key either is right.

pub mod carried;
pub mod error;
mod folder;
#[cfg(feature = "remotes")]
mod object;
pub mod parallel;
mod parcels;
mod partial;
pub mod pull;
pub mod push;
pub mod settings;
mod sign;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use crate::files::digest::{Content, Digest};
use crate::store::Store;
use crate::store::key::Key;

use crate::pipeline::remote_settings::RemotePlace;
use crate::remote::settings::RemoteSettings;
pub use error::{RemoteError, Trouble};

/// How bytes move to and from one remote. Names are relative, with `/` between their parts. Every
/// call ends: one that brings nothing for the remote's time-out fails with [`Trouble::Silent`].
pub trait Bucket: Send + Sync {
    /// The bytes of an object; `None` if it is not there.
    fn size(&self, name: &str) -> Result<Option<u64>, Trouble>;

    /// A small object as a whole; one of more than `most` bytes is [`Trouble::Damaged`].
    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Trouble>;

    /// The bytes of an object of `bytes` in all, from `start` on, in order; false if it is not
    /// there. If the remote cannot begin at `start`, `restart` is called and all bytes come.
    fn fetch(
        &self,
        name: &str,
        start: u64,
        bytes: u64,
        into: &mut dyn Taker,
    ) -> Result<bool, Trouble>;

    /// Writes a small object, over what is there.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Trouble>;

    /// Removes a small object, if it is there.
    fn remove(&self, name: &str) -> Result<(), Trouble>;

    /// Uploads a file if its bytes have this digest, whole or not at all. `notes` is a folder for
    /// what a later upload needs to know to go on where this one is broken off.
    fn upload(
        &self,
        name: &str,
        file: &Path,
        digest: Digest,
        notes: &Path,
        meter: &Meter,
    ) -> Result<(), Trouble>;
}

/// Takes the bytes of a download.
pub trait Taker {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Trouble>;
    /// What came so far does not count.
    fn restart(&mut self) -> Result<(), Trouble>;
}

/// Hears of each piece that has moved; an error ends the transfer.
pub type Meter<'a> = dyn Fn(u64) -> Result<(), Trouble> + Sync + 'a;

/// A remote that can be asked.
pub struct Remote {
    pub settings: RemoteSettings,
    bucket: Box<dyn Bucket>,
    /// Objects whose bytes turned out to be wrong: uploaded again though something is there.
    damaged: Mutex<BTreeSet<String>>,
}

impl Remote {
    /// Nothing is asked yet.
    pub fn open(settings: RemoteSettings) -> Result<Remote, RemoteError> {
        let bucket: Box<dyn Bucket> = match &settings.place {
            RemotePlace::Folder(folder) => Box::new(folder::Folder::new(folder, settings.timeout)),
            #[cfg(feature = "remotes")]
            RemotePlace::S3 { .. } | RemotePlace::Http { .. } => {
                Box::new(object::Objects::open(&settings)?)
            }
            #[cfg(not(feature = "remotes"))]
            RemotePlace::S3 { .. } | RemotePlace::Http { .. } => {
                return Err(RemoteError::NotBuiltIn { name: settings.name });
            }
        };
        Ok(Remote { settings, bucket, damaged: Mutex::default() })
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Asks for something that is not there: whether somebody answers and lets us in.
    pub fn look(&self) -> Result<(), Trouble> {
        self.bucket.size("records/none").map(drop)
    }
}

/// The name of an object or a record in a remote: that of its file in the store.
fn name_in(store: &Store, file: &Path) -> String {
    file.strip_prefix(store.root()).unwrap_or(file).to_string_lossy().into_owned()
}

fn object_name(store: &Store, content: Content) -> String {
    name_in(store, &store.object(content))
}

fn record_name(store: &Store, key: Key) -> String {
    name_in(store, &store.record_file(key))
}

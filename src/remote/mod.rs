//! Remotes: other places that hold results, laid out like the store. A remote is a folder, such as
//! one on NFS; a bucket of S3 or of a compatible server; or a web server, which is read-only.
//!
//! ```text
//! objects/ab/<digest>              a file
//! objects/ab/<digest>.tree         a folder's listing, written after its files
//! records/ab/<key>.json            what a run of that key produced, written last
//! records/ab/<key>.<digest>.sig    the signature of the record with that digest
//! jobs/<name>.json                 what travels to and from a node that does not see the store
//! tmp/                             in a folder only: files that are still being written
//! ```
//!
//! [`settings`] picks the remote that a command means, [`bucket`] moves bytes to and from it, and
//! [`push`] and [`pull`] move results. Nothing from a remote is trusted before it is verified: an
//! object must have its digest, and a record must have the fields of its key and, if there is a
//! shared secret, a signature. Only `server` uses an asynchronous runtime.
//!
//! Two processes may push the same result at once. An object's name determines its bytes, and of
//! two records of one key, either is right.

pub mod bucket;
pub mod error;
mod folder;
pub mod parallel;
mod parcels;
mod partial;
pub mod pull;
pub mod push;
#[cfg(feature = "remotes")]
mod server;
pub mod settings;
mod sign;
pub mod transfer;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use crate::files::digest::Content;
use crate::pipeline::remote_settings::RemotePlace;
use crate::remote::bucket::Bucket;
use crate::remote::folder::FolderBucket;
#[cfg(feature = "remotes")]
use crate::remote::server::connection::ServerBucket;
use crate::remote::settings::RemoteSettings;
use crate::store::Store;
use crate::store::key::Key;

pub use error::{RemoteError, Trouble};

/// An open remote.
pub struct Remote {
    pub settings: RemoteSettings,
    bucket: Box<dyn Bucket>,
    /// Names of objects that were found damaged. They are uploaded again although they exist.
    damaged: Mutex<BTreeSet<String>>,
}

impl Remote {
    /// Prepares the remote, but makes no request yet.
    pub fn open(settings: RemoteSettings) -> Result<Remote, RemoteError> {
        let bucket: Box<dyn Bucket> = match &settings.place {
            RemotePlace::Folder(folder) => Box::new(FolderBucket::new(folder, settings.timeout)),
            #[cfg(feature = "remotes")]
            RemotePlace::S3 { .. } | RemotePlace::Http { .. } => {
                Box::new(ServerBucket::open(&settings)?)
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

    /// Makes one request, to find out whether the remote answers and grants access.
    pub fn ping(&self) -> Result<(), Trouble> {
        self.bucket.size("records/none").map(drop)
    }
}

/// The name of an object or a record in a remote: the path of its file, relative to the store.
fn name_in(store: &Store, file: &Path) -> String {
    file.strip_prefix(store.root()).unwrap_or(file).to_string_lossy().into_owned()
}

fn object_name(store: &Store, content: Content) -> String {
    name_in(store, &store.object(content))
}

fn record_name(store: &Store, key: Key) -> String {
    name_in(store, &store.record_file(key))
}

//! How bytes move to and from one remote. [`Bucket`] is the interface to a remote; a folder and a
//! server implement it.

use std::path::Path;

use crate::files::digest::Digest;
use crate::remote::error::Trouble;

/// The objects of one remote, by name. Names are relative, with `/` between their parts. Every call
/// ends: if nothing arrives for the remote's timeout, it fails with [`Trouble::Silent`].
pub trait Bucket: Send + Sync {
    /// The size of an object in bytes; `None` if it does not exist.
    fn size(&self, name: &str) -> Result<Option<u64>, Trouble>;

    /// Reads a small object; `None` if it does not exist. An object of more than `most` bytes is
    /// [`Trouble::Damaged`].
    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Trouble>;

    /// Downloads an object of `bytes` bytes, in order, from position `start` on; false if it does
    /// not exist. If the remote cannot begin at `start`, calls [`ByteSink::restart`] and sends all
    /// bytes.
    fn fetch(
        &self,
        name: &str,
        start: u64,
        bytes: u64,
        into: &mut dyn ByteSink,
    ) -> Result<bool, Trouble>;

    /// Writes a small object and replaces what is there.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Trouble>;

    /// Removes a small object, if it exists.
    fn remove(&self, name: &str) -> Result<(), Trouble>;

    /// Uploads a file in full or not at all, provided that its bytes have this digest. `notes` is a
    /// folder for what a later upload needs to know to resume this one.
    fn upload(
        &self,
        name: &str,
        file: &Path,
        digest: Digest,
        notes: &Path,
        on_bytes: &OnBytes,
    ) -> Result<(), Trouble>;
}

/// Receives the bytes of a download.
pub trait ByteSink {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble>;

    /// Drops all bytes received so far.
    fn restart(&mut self) -> Result<(), Trouble>;
}

/// Called with the number of bytes of each piece that has moved. An error ends the transfer.
pub type OnBytes<'a> = dyn Fn(u64) -> Result<(), Trouble> + Sync + 'a;

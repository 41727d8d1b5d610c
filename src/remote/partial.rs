//! A large download in progress, in `cache/partial/<digest>`. The file always holds the beginning
//! of the object, so that a later download can resume. It does not lie in `cache/tmp`, because the
//! next run empties that.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::files::digest::Digest;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::lock::is_still_at;
use crate::files::scratch::Scratch;
use crate::remote::bucket::{ByteSink, OnBytes};
use crate::remote::error::Trouble;

/// A partial file, open and locked.
pub struct Partial<'a> {
    pub path: PathBuf,
    file: File,
    /// The number of bytes so far.
    pub length: u64,
    /// The number of bytes of the whole object. More are refused.
    bytes: u64,
    /// Has hashed the bytes so far.
    hasher: blake3::Hasher,
    name: &'a str,
    on_bytes: &'a OnBytes<'a>,
}

impl<'a> Partial<'a> {
    /// Opens what an earlier download left, or a new file. If another process is downloading the
    /// same object, this one uses a scratch file instead.
    pub fn open(
        path: PathBuf,
        (name, bytes): (&'a str, u64),
        on_bytes: &'a OnBytes<'a>,
        scratch: &Scratch,
    ) -> Result<Partial<'a>, FileError> {
        let open = |path: &Path| disk::append(path).map_err(FileError::in_store("opening", path));
        let (path, file) = loop {
            let file = open(&path)?;
            match file.try_lock() {
                Err(_) => {
                    let path = scratch.path()?;
                    break (path.clone(), open(&path)?);
                }
                // The process that held it may have moved it into the store since.
                Ok(()) if is_still_at(&file, &path) => break (path, file),
                Ok(()) => {}
            }
        };
        let length = file.metadata().map_err(FileError::in_store("reading", &path))?.len();
        let hasher = blake3::Hasher::new();
        let mut partial = Partial { path, file, length, bytes, hasher, name, on_bytes };
        if length > bytes {
            partial.empty()?;
        } else if length > 0 {
            let read = partial.hasher.update_reader(&partial.file);
            read.map_err(FileError::in_store("reading", &partial.path))?;
        }
        Ok(partial)
    }

    /// Drops all bytes so far.
    pub fn empty(&mut self) -> Result<(), FileError> {
        self.length = 0;
        self.hasher.reset();
        disk::truncate(&self.file, &self.path).map_err(FileError::in_store("writing", &self.path))
    }

    /// The digest of the bytes so far.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(*self.hasher.finalize().as_bytes())
    }

    /// Removes the file. For bytes that turned out not to be the beginning of this object.
    pub fn remove(self) -> Result<(), FileError> {
        disk::remove_file(&self.path).map_err(FileError::in_store("removing", &self.path))
    }
}

impl ByteSink for Partial<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        if self.length + bytes.len() as u64 > self.bytes {
            return Err(Trouble::Damaged { name: self.name.to_owned() });
        }
        let written = disk::write_all(&self.file, bytes, &self.path);
        written.map_err(FileError::in_store("writing", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        (self.on_bytes)(bytes.len() as u64)
    }

    fn restart(&mut self) -> Result<(), Trouble> {
        Ok(self.empty()?)
    }
}

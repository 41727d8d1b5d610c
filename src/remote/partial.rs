//! A large download in progress: `cache/partial/<digest>`, always a beginning of the object, so that
//! a later one goes on where this one ended. Not in `cache/tmp`, which the next run empties.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::files::digest::Digest;
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::lock::is_still_at;
use crate::files::scratch::Scratch;
use crate::remote::{Taker, Trouble};

pub struct Partial<'a> {
    pub path: PathBuf,
    file: File,
    /// How many bytes there are.
    pub length: u64,
    /// Of the whole object; more are not taken.
    bytes: u64,
    /// Of what there is.
    hasher: blake3::Hasher,
    name: &'a str,
    moved: &'a super::Meter<'a>,
}

impl<'a> Partial<'a> {
    /// Opens what an earlier download left, or a new one. While another process has it open for
    /// the same, this one downloads beside it.
    pub fn open(
        path: PathBuf,
        (name, bytes): (&'a str, u64),
        moved: &'a super::Meter<'a>,
        scratch: &Scratch,
    ) -> Result<Partial<'a>, FileError> {
        let open = |path: &Path| disk::append(path).map_err(FileError::at("opening", path));
        let (path, file) = loop {
            let file = open(&path)?;
            match file.try_lock() {
                Err(_) => {
                    let path = scratch.path()?;
                    break (path.clone(), open(&path)?);
                }
                // Whoever had it before may have moved it into the store.
                Ok(()) if is_still_at(&file, &path) => break (path, file),
                Ok(()) => {}
            }
        };
        let length = file.metadata().map_err(FileError::at("reading", &path))?.len();
        let hasher = blake3::Hasher::new();
        let mut partial = Partial { path, file, length, bytes, hasher, name, moved };
        if length > bytes {
            partial.empty()?;
        } else if length > 0 {
            let read = partial.hasher.update_reader(&partial.file);
            read.map_err(FileError::at("reading", &partial.path))?;
        }
        Ok(partial)
    }

    /// From the beginning.
    pub fn empty(&mut self) -> Result<(), FileError> {
        self.length = 0;
        self.hasher.reset();
        disk::truncate(&self.file, &self.path).map_err(FileError::at("writing", &self.path))
    }

    /// Of the bytes that there are.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(*self.hasher.finalize().as_bytes())
    }

    /// It was not the beginning of this object.
    pub fn remove(self) -> Result<(), FileError> {
        disk::remove_file(&self.path).map_err(FileError::at("removing", &self.path))
    }
}

impl Taker for Partial<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        if self.length + bytes.len() as u64 > self.bytes {
            return Err(Trouble::Damaged { name: self.name.to_owned() });
        }
        let written = disk::write_all(&self.file, bytes, &self.path);
        written.map_err(FileError::at("writing", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        (self.moved)(bytes.len() as u64)
    }

    fn restart(&mut self) -> Result<(), Trouble> {
        Ok(self.empty()?)
    }
}

//! A server as a [`Bucket`].

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use object_store::{ObjectStoreExt, PutPayload};

use crate::files::digest::Digest;
use crate::files::file_error::FileError;
use crate::files::pace::TooSlow;
use crate::remote::bucket::{Bucket, ByteSink, OnBytes};
use crate::remote::error::Trouble;
use crate::remote::server::connection::{PART, Pieces, ServerBucket, within};
use crate::remote::server::failure::{Failure, there};
use crate::remote::server::upload::{UploadFile, read_part};

/// Files of fewer bytes are uploaded without waiting for room in memory.
const SMALL: u64 = 1 << 20;

impl Bucket for ServerBucket {
    fn size(&self, name: &str) -> Result<Option<u64>, Trouble> {
        let name = self.name(name);
        there(self.wait(self.timeout, self.store.head(&name)).map(|meta| meta.size))
    }

    fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Trouble> {
        let (path, timeout, began) = (self.name(name), self.timeout, Instant::now());
        let request = async {
            let result = within(timeout, self.store.get(&path)).await?;
            if result.meta.size > most {
                return Err(Failure::Trouble(Trouble::Damaged { name: name.to_owned() }));
            }
            let limit = self.limit(result.meta.size);
            let mut bytes = Vec::with_capacity(result.meta.size as usize);
            let mut pieces = Pieces::new(result, timeout);
            while let Some(piece) = pieces.next().await? {
                bytes.extend_from_slice(&piece);
                if bytes.len() as u64 > most {
                    return Err(Failure::Trouble(Trouble::Damaged { name: name.to_owned() }));
                }
                // Small answers are waited for as a whole.
                if began.elapsed() > limit {
                    return Err(Trouble::Slow(TooSlow(limit)).into());
                }
            }
            Ok(bytes)
        };
        there(self.handle.block_on(request))
    }

    fn fetch(
        &self,
        name: &str,
        start: u64,
        bytes: u64,
        into: &mut dyn ByteSink,
    ) -> Result<bool, Trouble> {
        let path = self.name(name);
        let fetched = match self.handle.block_on(self.ranges(&path, start..bytes, into)) {
            // A server that does not support ranges sends everything at once.
            Err(failure) if failure.is_about_ranges() => {
                into.restart()?;
                self.handle.block_on(self.all(&path, into))
            }
            other => other,
        };
        there(fetched).map(|found| found.is_some())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Trouble> {
        if self.in_parts.is_none() {
            return Err(Trouble::ReadOnly);
        }
        let (name, payload) = (self.name(name), PutPayload::from(bytes.to_vec()));
        let put = self.wait(self.limit(bytes.len() as u64), self.store.put(&name, payload));
        put.map(drop).map_err(Failure::trouble)
    }

    fn remove(&self, name: &str) -> Result<(), Trouble> {
        let name = self.name(name);
        there(self.wait(self.timeout, self.store.delete(&name))).map(drop)
    }

    fn upload(
        &self,
        name: &str,
        file: &Path,
        digest: Digest,
        notes: &Path,
        on_bytes: &OnBytes,
    ) -> Result<(), Trouble> {
        let Some(in_parts) = &self.in_parts else { return Err(Trouble::ReadOnly) };
        let mut source = File::open(file).map_err(FileError::at("reading", file))?;
        let length = source.metadata().map_err(FileError::at("reading", file))?.len();
        if length > PART {
            let note = notes.join(format!("{digest}.to-{}", self.address.short()));
            let source = UploadFile { file: source, path: file, length, digest };
            return self.upload_in_parts(in_parts, &self.name(name), source, note, on_bytes);
        }
        let _permit = match length {
            0..SMALL => None,
            _ => self.handle.block_on(self.parts.acquire()).ok(),
        };
        let bytes = read_part(&mut source, length, file)?;
        if Digest::of_bytes(&bytes) != digest {
            return Err(Trouble::DamagedHere(digest.short()));
        }
        self.write(name, &bytes)?;
        on_bytes(length)
    }
}

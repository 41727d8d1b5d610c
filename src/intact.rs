//! Whether objects still hold what their digests say, and moving away those that do not.

use std::io;

use rayon::prelude::*;
use stages::Kind;

use crate::digest::{Content, Digest};
use crate::file_error::FileError;
use crate::scratch::{Scratch, rename_into};
use crate::store::Store;

/// An object whose bytes are not those that its name promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub Digest);

impl Store {
    /// Whether all bytes of an artifact are what its digest says. Nothing is moved.
    pub fn is_intact(&self, content: Content) -> bool {
        let listed = content.kind == Kind::File || self.tree(content).is_some();
        let intact = |file: &Content| {
            Digest::of_file(&self.object(*file)).is_ok_and(|found| found == file.digest)
        };
        listed && self.files_of(content).par_iter().all(intact)
    }

    /// The files of an artifact: itself, or those of its listing.
    pub fn files_of(&self, content: Content) -> Vec<Content> {
        match content.kind {
            Kind::File => vec![content],
            Kind::Folder => {
                let files = self.tree(content).map(|tree| tree.0).unwrap_or_default();
                files.values().map(|file| Content::file(file.digest)).collect()
            }
        }
    }

    /// Reads an artifact in full. A damaged object is moved out of the way, so that from now on
    /// it counts as missing.
    pub fn verify(
        &self,
        content: Content,
        scratch: &Scratch,
    ) -> Result<Result<(), Damaged>, FileError> {
        let files = match content.kind {
            Kind::File => vec![content.digest],
            Kind::Folder => match self.tree(content) {
                Some(tree) => tree.0.values().map(|file| file.digest).collect(),
                None => {
                    self.quarantine(content, scratch)?;
                    return Ok(Err(Damaged(content.digest)));
                }
            },
        };
        let damaged = files.into_par_iter().find_any(|digest| {
            let found = Digest::of_file(&self.object(Content::file(*digest)));
            found.ok() != Some(*digest)
        });
        let Some(digest) = damaged else { return Ok(Ok(())) };
        self.quarantine(Content::file(digest), scratch)?;
        Ok(Err(Damaged(digest)))
    }

    pub fn quarantine(&self, content: Content, scratch: &Scratch) -> Result<(), FileError> {
        let object = self.object(content);
        let unique = scratch.path()?;
        let name =
            format!("{}-{}", content.digest, unique.file_name().unwrap_or_default().display());
        let target = self.quarantine_folder().join(name);
        match rename_into(&object, &target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileError::at("moving to quarantine", &object)(error))
            }
            _ => Ok(()),
        }
    }
}

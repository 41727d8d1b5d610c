//! Verifying objects: whether their bytes still match their digests. Damaged objects are moved
//! away.

use std::fs::{self, Metadata};
use std::io;

use rayon::prelude::*;
use stages::Kind;

use crate::files::digest::{Content, Digest};
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::regular::has_execute_bit;
use crate::files::scratch::{Scratch, rename_into};
use crate::files::tree::TreeFile;
use crate::store::{Store, permissions};

/// The digest of an object whose bytes do not match it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged(pub Digest);

impl Store {
    /// Whether all bytes of an artifact match its digest. Moves nothing.
    pub fn is_intact(&self, content: Content) -> bool {
        self.damage(content).is_none()
    }

    /// The files of an artifact: itself, or those of its listing; `None` if the listing is missing
    /// or damaged.
    pub fn files_of(&self, content: Content) -> Option<Vec<Content>> {
        match content.kind {
            Kind::File => Some(vec![content]),
            Kind::Folder => {
                let tree = self.tree(content)?;
                Some(tree.files.values().map(TreeFile::content).collect())
            }
        }
    }

    /// Reads an artifact in full. Moves a damaged object away, so that it counts as missing from
    /// then on. Gives the others the execute bit that they should have.
    pub fn verify(
        &self,
        content: Content,
        scratch: &Scratch,
    ) -> Result<Result<(), Damaged>, FileError> {
        if let Some(damaged) = self.damage(content) {
            self.quarantine(damaged, scratch)?;
            return Ok(Err(Damaged(damaged.digest)));
        }
        for file in self.files_of(content).unwrap_or_default() {
            self.restore_permissions(file)?;
        }
        Ok(Ok(()))
    }

    /// Makes an object executable or not, as its content says: whoever copies a store may lose the
    /// modes of its files.
    pub(super) fn restore_permissions(&self, content: Content) -> Result<(), FileError> {
        let object = self.object(content);
        let is_right = |metadata: Metadata| has_execute_bit(&metadata) == content.executable;
        if fs::metadata(&object).is_ok_and(is_right) {
            return Ok(());
        }
        match disk::set_permissions(&object, permissions(content)) {
            Err(error) if content.executable => {
                Err(FileError::in_store("making executable", &object)(error))
            }
            // On some file systems every file is executable.
            _ => Ok(()),
        }
    }

    /// A damaged object of an artifact, if there is one.
    fn damage(&self, content: Content) -> Option<Content> {
        let Some(files) = self.files_of(content) else { return Some(content) };
        files.into_par_iter().find_any(|file| {
            let found = Digest::of_file(&self.object(*file));
            found.ok() != Some(file.digest)
        })
    }

    /// Moves an object to the quarantine folder. Does nothing if it is gone already.
    pub fn quarantine(&self, content: Content, scratch: &Scratch) -> Result<(), FileError> {
        let object = self.object(content);
        let unique = scratch.path()?;
        let name =
            format!("{}-{}", content.digest, unique.file_name().unwrap_or_default().display());
        let target = self.quarantine_folder().join(name);
        match rename_into(&object, &target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FileError::in_store("moving to quarantine", &object)(error))
            }
            _ => Ok(()),
        }
    }
}

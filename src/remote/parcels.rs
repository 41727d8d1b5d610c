//! Files that travel through a remote without being results: those of a stage on a node that does
//! not see the store. Their bytes are ordinary objects; a note lists them.
//!
//! ```text
//! jobs/<name>.json        the note: {"body": …, "signature": …}
//! ```
//!
//! With a shared secret, a note counts only if it is signed with that secret for its name. The
//! files that it lists count if they have their digests.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::files::digest::Digest;
use crate::files::file_error::FileError;
use crate::files::regular::is_executable;
use crate::files::scratch::Scratch;
use crate::files::tree::{Tree, TreeFile, files_below};
use crate::remote::error::Trouble;
use crate::remote::parallel::{OBJECTS, each};
use crate::remote::{Remote, object_name, sign};
use crate::store::Store;
use crate::store::key::Key;
use crate::store::record::Artifact;

/// The size limit of a note in bytes, since notes are read as a whole.
const MOST_NOTE: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Envelope {
    body: String,
    signature: Option<String>,
}

impl Remote {
    /// Uploads the files below a folder, except those that are in the remote already, and returns
    /// their listing. Follows links.
    pub fn send_files(&self, folder: &Path, store: &Store) -> Result<Tree, Trouble> {
        let below = files_below(folder)?;
        let mut found = Vec::new();
        for file in below.files {
            let digest = Digest::of_file(&file.path)?;
            let metadata = std::fs::metadata(&file.path);
            let metadata = metadata.map_err(FileError::at("reading", &file.path))?;
            let executable = is_executable(&file.path, &metadata);
            let bytes = metadata.len();
            found.push((file.relative, file.path, TreeFile { digest, bytes, executable }));
        }
        each(&found, OBJECTS, |(_, path, file)| -> Result<(), Trouble> {
            let name = object_name(store, file.content());
            match self.bucket.size(&name)? == Some(file.bytes) {
                true => Ok(()),
                false => {
                    let notes = store.partial_folder();
                    self.bucket.upload(&name, path, file.digest, &notes, &|_| Ok(()))
                }
            }
        })?;
        let files = found.into_iter().map(|(relative, _, file)| (relative, file)).collect();
        Ok(Tree { files, empty_folders: below.empty_folders })
    }

    /// Downloads the files of a listing into the store, except those that are there already.
    pub fn fetch_files(
        &self,
        tree: &Tree,
        store: &Store,
        scratch: &Scratch,
    ) -> Result<(), Trouble> {
        let mut missing: Vec<TreeFile> = tree.files.values().copied().collect();
        missing.sort_unstable();
        missing.dedup();
        missing.retain(|file| !store.holds(&Artifact::of(*file)));
        each(&missing, OBJECTS, |file| self.file(*file, store, scratch, &|_| Ok(())))
    }

    /// Writes a note about the job of a key.
    pub fn write_note<T: Serialize>(&self, name: &str, key: Key, note: &T) -> Result<(), Trouble> {
        let failed = |error: serde_json::Error| Trouble::Failed(error.to_string());
        let body = serde_json::to_string(note).map_err(failed)?;
        let secret = self.settings.secret.as_ref();
        let signature = secret.map(|secret| sign::sign(secret, key, &signed(name, &body)));
        let text = serde_json::to_vec(&Envelope { body, signature }).map_err(failed)?;
        self.bucket.write(&file_of(name), &text)
    }

    /// Reads a note; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Trouble::Damaged`] if it is not such a note, and [`Trouble::Unsigned`] if it lacks the
    /// right signature.
    pub fn read_note<T: DeserializeOwned>(
        &self,
        name: &str,
        key: Key,
    ) -> Result<Option<T>, Trouble> {
        let file = file_of(name);
        let Some(bytes) = self.bucket.read(&file, MOST_NOTE)? else { return Ok(None) };
        let damaged = || Trouble::Damaged { name: file.clone() };
        let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        if let Some(secret) = &self.settings.secret {
            let signature = envelope.signature.as_deref().unwrap_or_default();
            let body = signed(name, &envelope.body);
            if !sign::is_signed(secret, key, &body, signature.as_bytes()) {
                return Err(Trouble::Unsigned { name: file });
            }
        }
        serde_json::from_str(&envelope.body).map(Some).map_err(|_| damaged())
    }

    /// Removes a note, if it exists.
    pub fn remove_note(&self, name: &str) -> Result<(), Trouble> {
        self.bucket.remove(&file_of(name))
    }
}

fn file_of(name: &str) -> String {
    format!("jobs/{name}.json")
}

fn signed(name: &str, body: &str) -> Vec<u8> {
    format!("job {name}\n{body}").into_bytes()
}

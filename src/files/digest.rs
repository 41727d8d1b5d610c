//! Digests: the BLAKE3 hash of a file's bytes, or of a folder's listing. Keys, records and objects
//! identify bytes by their digest, never by a path or a time.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stages::Kind;

use crate::files::disk;
use crate::files::file_error::FileError;

/// Files of fewer bytes are read in one go.
const SMALL: usize = 8 * 1024;

/// How many bytes to copy at once: few enough to stay in a core's cache between the hash and the
/// write.
const COPIED_AT_ONCE: usize = 1 << 20;

/// From this many bytes on, several threads hash faster than one, according to `blake3`.
const WORTH_THREADS: usize = 128 * 1024;

/// A BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of_bytes(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// Hashes a file. A large file is memory-mapped and hashed on all cores.
    pub fn of_file(path: &Path) -> Result<Digest, FileError> {
        let mut hasher = blake3::Hasher::new();
        let mut hash = || -> io::Result<()> {
            // Reading a small file costs less than asking for its length first.
            let mut start = [0; SMALL];
            let mut file = File::open(path)?.take(SMALL as u64);
            let mut length = 0;
            loop {
                match file.read(&mut start[length..]) {
                    Ok(0) => break,
                    Ok(read) => length += read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            match length {
                SMALL => hasher.update_mmap_rayon(path)?,
                _ => hasher.update(&start[..length]),
            };
            Ok(())
        };
        hash().map_err(FileError::at("hashing", path))?;
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    /// Copies a file to `to`, where no file may be yet, and hashes the bytes on the way, so that
    /// they are read only once. A file system with reflinks shares the bytes instead.
    pub fn of_copy(from: &Path, to: &Path) -> Result<Digest, FileError> {
        let mut source = File::open(from).map_err(FileError::at("reading", from))?;
        let copy = disk::create_new_file(to).map_err(FileError::at("writing", to))?;
        if disk::share_bytes(&source, &copy, to).is_ok() {
            return Digest::of_file(to);
        }
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; COPIED_AT_ONCE];
        loop {
            let read = match source.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(FileError::at("reading", from))?,
            };
            let read = &buffer[..read];
            match read.len() {
                0 => return Ok(Digest(*hasher.finalize().as_bytes())),
                1..WORTH_THREADS => hasher.update(read),
                _ => hasher.update_rayon(read),
            };
            disk::write_all(&copy, read, to).map_err(FileError::at("writing", to))?;
        }
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first ten hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..10].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: expected {EXPECTED}")]
pub struct NotADigest(String);

const EXPECTED: &str = "64 hexadecimal digits, after `file:` or `folder:`";

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Digest, NotADigest> {
        // Upper case would be a second name for the same bytes.
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let hash = blake3::Hash::from_hex(text).ok().filter(|_| lower);
        hash.map(|hash| Digest(*hash.as_bytes())).ok_or_else(|| NotADigest(text.to_owned()))
    }
}

/// The content of an artifact or a source: a digest, and whether it is the digest of a file or of
/// a folder's listing, so that no file can pass for a folder. Written `file:…` or `folder:…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Content {
    pub kind: Kind,
    pub digest: Digest,
}

impl Content {
    pub fn file(digest: Digest) -> Content {
        Content { kind: Kind::File, digest }
    }

    pub fn folder(digest: Digest) -> Content {
        Content { kind: Kind::Folder, digest }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", kind_name(self.kind), self.digest)
    }
}

/// `file` or `folder`.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Folder => "folder",
    }
}

impl FromStr for Content {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Content, NotADigest> {
        let wrong = || NotADigest(text.to_owned());
        let (kind, digest) = text.split_once(':').ok_or_else(wrong)?;
        let digest = digest.parse().map_err(|_| wrong())?;
        match kind {
            "file" => Ok(Content::file(digest)),
            "folder" => Ok(Content::folder(digest)),
            _ => Err(wrong()),
        }
    }
}

impl From<Content> for String {
    fn from(content: Content) -> String {
        content.to_string()
    }
}

impl TryFrom<String> for Content {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Content, NotADigest> {
        text.parse()
    }
}

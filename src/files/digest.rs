//! Digests: BLAKE3 of a file's bytes, or of a folder's listing. Everything downstream (keys,
//! records, objects) names bytes by these and never by paths or times.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stages::Kind;

use crate::files::disk;
use crate::files::file_error::FileError;

/// Below this many bytes a file is small.
const SMALL: usize = 8 * 1024;

/// Bytes that stay in a core's cache between being hashed and being written.
const COPIED_AT_ONCE: usize = 1 << 20;

/// From how many bytes on several threads hash faster than one, as `blake3` says.
const WORTH_THREADS: usize = 128 * 1024;

/// A BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of_bytes(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// Hashes a file, memory-mapped and on all cores if it is large.
    pub fn of_file(path: &Path) -> Result<Digest, FileError> {
        let mut hasher = blake3::Hasher::new();
        let mut hash = || -> io::Result<()> {
            // A small file is read whole, which costs less than finding out how long it is.
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

    /// Copies a file and hashes what is copied, so that it is read once. Where the file system can
    /// share the bytes nothing is copied at all.
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

    /// The first ten hexadecimal digits, for the eye.
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

/// A text that is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: expected {EXPECTED}")]
pub struct NotADigest(String);

const EXPECTED: &str = "64 hexadecimal digits, after `file:` or `folder:`";

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Digest, NotADigest> {
        // One spelling only: upper case would be a second name for the same bytes.
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let hash = blake3::Hash::from_hex(text).ok().filter(|_| lower);
        hash.map(|hash| Digest(*hash.as_bytes())).ok_or_else(|| NotADigest(text.to_owned()))
    }
}

/// What an artifact or a source holds: a digest that says whether it is of a file or of a
/// folder's listing, so that no file can pass for a folder. Written `file:…` or `folder:…`.
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

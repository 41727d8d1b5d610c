//! Digests: the BLAKE3 hash of a file's bytes, or of a folder's listing. Keys, records and objects
//! identify bytes by their digest, never by a path or a time.

use std::fmt;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::str::FromStr;

use rayon::prelude::*;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use stages::Kind;

use crate::files::file_error::FileError;
use crate::files::{disk, regular};

/// Files of fewer bytes are read in one go.
const SMALL: usize = 8 * 1024;

/// A large file is read in pieces of this size, several at once. Mapping it into memory would be no
/// faster, and would kill the process if somebody truncated the file meanwhile.
const PIECE: usize = 256 * 1024;

/// How many pieces to read at once, at least and at most: few enough to stay in the cache.
const PIECES: (usize, usize) = (4, 16);

/// From this many bytes on, several threads hash faster than one, according to `blake3`.
const WORTH_THREADS: usize = 128 * 1024;

/// A BLAKE3 hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of_bytes(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// Hashes a file. A large one is read and hashed on all cores.
    pub fn of_file(path: &Path) -> Result<Digest, FileError> {
        let hash = || Digest::of_open_file(&regular::open(path)?);
        hash().map_err(FileError::at("hashing", path))
    }

    /// Hashes an open file from its beginning, whatever its position is.
    pub fn of_open_file(file: &File) -> io::Result<Digest> {
        let mut hasher = blake3::Hasher::new();
        // Reading a small file costs less than asking for its length first.
        let mut start = [0; SMALL];
        let length = read_at(file, &mut start, 0)?;
        hasher.update(&start[..length]);
        if length == SMALL {
            hash_rest(file, &mut hasher)?;
        }
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    /// Copies a file to `to`, where no file may be yet, and hashes the copy.
    pub fn of_copy(from: &Path, to: &Path) -> Result<Digest, FileError> {
        let source = regular::open(from).map_err(FileError::at("reading", from))?;
        let copy = disk::create_new_file(to).map_err(FileError::at("writing", to))?;
        disk::copy_bytes(&source, &copy, to).map_err(FileError::at("writing", to))?;
        Digest::of_file(to)
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hexadecimal digits.
    pub fn hex(&self) -> impl Deref<Target = str> {
        blake3::Hash::from_bytes(self.0).to_hex()
    }

    /// The first ten hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.to_string()[..10].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.hex())
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

/// The bytes of a file that is read as a whole, followed by their hash.
pub fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let check = Digest::of_bytes(&bytes);
    bytes.extend(check.as_bytes());
    bytes
}

/// What follows `header` in the bytes of [`sealed`]; `None` if they are damaged or begin otherwise.
pub fn opened<'b>(bytes: &'b [u8], header: &[u8]) -> Option<&'b [u8]> {
    let (body, check) = bytes.split_last_chunk::<32>()?;
    (Digest::of_bytes(body).as_bytes() == check).then(|| body.strip_prefix(header))?
}

/// Whether the text is hexadecimal digits, this many.
pub fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Hashes what follows the first [`SMALL`] bytes.
fn hash_rest(file: &File, hasher: &mut blake3::Hasher) -> io::Result<()> {
    let length = file.metadata()?.len();
    let pieces = (2 * rayon::current_num_threads()).clamp(PIECES.0, PIECES.1);
    // One byte more shows the end of the file.
    let mut buffer = vec![0; (length as usize).saturating_add(1).clamp(SMALL, pieces * PIECE)];
    let mut at = SMALL as u64;
    loop {
        let read: Vec<(usize, io::Result<usize>)> = buffer
            .par_chunks_mut(PIECE)
            .enumerate()
            .map(|(piece, bytes)| (bytes.len(), read_at(file, bytes, at + (piece * PIECE) as u64)))
            .collect();
        let (mut filled, mut ended) = (0, false);
        for (asked, read) in read {
            let read = read?;
            // If the file grows just now, there may be bytes beyond its end.
            if !ended {
                filled += read;
                ended = read < asked;
            }
        }
        match filled {
            0..WORTH_THREADS => hasher.update(&buffer[..filled]),
            _ => hasher.update_rayon(&buffer[..filled]),
        };
        at += filled as u64;
        if ended {
            return Ok(());
        }
        // Somebody may append faster than this reads. Pseudo files have more bytes than they say.
        if at > length && file.metadata()?.len() != length {
            return Err(io::Error::new(io::ErrorKind::InvalidData, CHANGED));
        }
    }
}

/// The problem of a file that is written to while it is hashed.
pub const CHANGED: &str = "it changed while it was read";

/// Fills `bytes` from this place in the file; returns how many bytes there were.
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], at + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// The text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: expected {EXPECTED}")]
pub struct NotADigest(String);

const EXPECTED: &str = "64 hexadecimal digits, after `file:`, `executable:` or `folder:`";

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Digest, NotADigest> {
        // Upper case would be a second name for the same bytes.
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        let hash = blake3::Hash::from_hex(text).ok().filter(|_| lower);
        hash.map(|hash| Digest(*hash.as_bytes())).ok_or_else(|| NotADigest(text.to_owned()))
    }
}

/// The content of an artifact or a source: a digest, and whether it is the digest of a file, of a
/// file that may be executed, or of a folder's listing, so that none of these can pass for another.
/// Written `file:…`, `executable:…` or `folder:…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(into = "String")]
pub struct Content {
    pub kind: Kind,
    /// For a file: whether it has the execute bit. A folder's listing says it for each file.
    pub executable: bool,
    pub digest: Digest,
}

impl Content {
    pub fn file(digest: Digest) -> Content {
        Content { kind: Kind::File, executable: false, digest }
    }

    pub fn executable(digest: Digest) -> Content {
        Content { kind: Kind::File, executable: true, digest }
    }

    pub fn folder(digest: Digest) -> Content {
        Content { kind: Kind::Folder, executable: false, digest }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let kind = if self.executable { EXECUTABLE } else { kind_name(self.kind) };
        write!(f, "{kind}:{}", self.digest)
    }
}

const EXECUTABLE: &str = "executable";

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
            EXECUTABLE => Ok(Content::executable(digest)),
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

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Content, D::Error> {
        parsed(deserializer)
    }
}

/// Reads a value from a text, without a copy of the text: a run reads thousands of them.
pub fn parsed<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Text<T>(PhantomData<T>);
    impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text(PhantomData))
}

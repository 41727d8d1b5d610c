//! The checksums by which servers and pipelines name the content of a file.

use std::io::{self, Read};

use sha2::Digest;

/// How a file's checksum is computed.
#[derive(Clone, Copy)]
pub enum Checksum {
    /// The digest that a pipeline pins.
    Blake3,
    /// The name of a large file on the hub (Git LFS).
    Sha256,
    /// The name of a small file on the hub: the object id of a Git blob, which is the SHA-1 of
    /// `blob <bytes>\0` and the content.
    GitBlob { bytes: u64 },
}

/// A checksum in the making.
pub enum Hasher {
    Blake3(Box<blake3::Hasher>),
    Sha256(sha2::Sha256),
    Sha1(sha1::Sha1),
}

impl Checksum {
    pub fn hasher(self) -> Hasher {
        match self {
            Checksum::Blake3 => Hasher::Blake3(Box::default()),
            Checksum::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Checksum::GitBlob { bytes } => {
                Hasher::Sha1(sha1::Sha1::new_with_prefix(format!("blob {bytes}\0")))
            }
        }
    }
}

impl Hasher {
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Blake3(hasher) => drop(hasher.update(bytes)),
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha1(hasher) => hasher.update(bytes),
        }
    }

    /// Reads to the end.
    pub fn update_from(&mut self, mut reader: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The checksum in lowercase hexadecimal digits.
    pub fn finish(self) -> String {
        match self {
            Hasher::Blake3(hasher) => hasher.finalize().to_hex().to_string(),
            Hasher::Sha256(hasher) => format!("{:x}", hasher.finalize()),
            Hasher::Sha1(hasher) => format!("{:x}", hasher.finalize()),
        }
    }
}

//! Signatures of records: keyed BLAKE3 over the stage's key and the record's bytes, with a hash key
//! derived from the shared secret. Without the secret, nobody who can write to a remote can plant a
//! result there.

use std::str::FromStr;

use crate::files::digest::Digest;
use crate::pipeline::remote_settings::Secret;
use crate::store::key::Key;

/// The purpose of the derived hash key. The same secret gives other keys for other purposes.
const CONTEXT: &str = "pipe 2026-11 remote: signature of a record";

/// The signature of a record's bytes, in hexadecimal.
pub fn sign(secret: &Secret, key: Key, record: &[u8]) -> String {
    signature(secret, key, record).to_hex().to_string()
}

/// Whether a text is the signature of a record's bytes. Compares in constant time.
pub fn is_signed(secret: &Secret, key: Key, record: &[u8], text: &[u8]) -> bool {
    let text = std::str::from_utf8(text).ok().map(str::trim_end);
    let found = text.and_then(|text| blake3::Hash::from_str(text).ok());
    found.is_some_and(|found| found == signature(secret, key, record))
}

fn signature(secret: &Secret, key: Key, record: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(CONTEXT, secret.0.as_bytes()));
    hasher.update(key.to_string().as_bytes()).update(b"\n").update(record);
    hasher.finalize()
}

/// The name of a record's signature, beside the record. It contains the digest of the record, so
/// that two processes that push at once cannot pair a signature with the other's record.
pub fn name(record_name: &str, record: &[u8]) -> String {
    let stem = record_name.strip_suffix(".json").unwrap_or(record_name);
    format!("{stem}.{}.sig", Digest::of_bytes(record))
}

//! The key that requests have to show.

use std::fmt;

/// A digest of the key. Digests are compared in constant time, so that the time of an answer tells
/// neither the length nor the beginning of the key.
#[derive(Clone, Copy)]
pub struct Key(blake3::Hash);

impl Key {
    pub fn new(key: &str) -> Key {
        Key(blake3::hash(key.as_bytes()))
    }

    /// Whether an `Authorization` header has the key.
    pub fn is_in(&self, header: Option<&[u8]>) -> bool {
        const SCHEME: &[u8] = b"bearer ";
        let given = header.and_then(|header| {
            let (scheme, key) = header.split_at_checked(SCHEME.len())?;
            scheme.eq_ignore_ascii_case(SCHEME).then_some(key.trim_ascii())
        });
        // `blake3::Hash` compares in constant time.
        given.is_some_and(|given| blake3::hash(given) == self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn only_the_whole_key_is_taken() {
        let key = Key::new("s3cret");
        for good in ["Bearer s3cret", "bearer s3cret ", "BEARER  s3cret"] {
            assert!(key.is_in(Some(good.as_bytes())), "{good}");
        }
        for bad in
            ["", "s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cretx", "Basic s3cret"]
        {
            assert!(!key.is_in(Some(bad.as_bytes())), "{bad}");
        }
        assert!(!key.is_in(None));
        assert_eq!(format!("{key:?}"), "Key(…)");
    }
}

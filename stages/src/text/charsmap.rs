//! The compiled normalisation rules of a SentencePiece model, which `tokenizer.json` holds too.
//! The library that applies them follows every index in them unchecked, so they are checked here.

use std::collections::HashSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// Checks rules: the size of a trie in bytes (4 bytes), the units of the trie (4 bytes each), and
/// the replacements. A unit is one of a double array, as in the library Darts-clone.
///
/// # Errors
/// What is wrong, as a predicate.
pub(super) fn check(charsmap: &[u8]) -> Result<(), &'static str> {
    const ENDS_EARLY: &str = "ends early";
    let (size, rest) = charsmap.split_first_chunk::<4>().ok_or(ENDS_EARLY)?;
    let units = u32::from_le_bytes(*size) as usize / 4;
    let (trie, replacements) = rest.split_at_checked(units * 4).ok_or(ENDS_EARLY)?;
    let replacements =
        std::str::from_utf8(replacements).map_err(|_| "has replacements that are not UTF-8")?;
    let unit = |at: usize| -> Option<u32> {
        let bytes = trie.get(at.checked_mul(4)?..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    };
    const LEAVES: &str = "has a state outside of its trie";
    let root = offset(unit(0).ok_or(ENDS_EARLY)?);
    let mut seen = HashSet::from([root]);
    let mut states = vec![root];
    while let Some(state) = states.pop() {
        for byte in 1..=255 {
            let at = state ^ byte as usize;
            let found = unit(at).ok_or(LEAVES)?;
            if found & (1 << 31 | 0xff) != byte {
                continue;
            }
            let next = at ^ offset(found);
            let leaf = unit(next).ok_or(LEAVES)?;
            let has_leaf = found & (1 << 8) != 0;
            if has_leaf && !replacements.is_char_boundary((leaf & !(1 << 31)) as usize) {
                return Err("names a replacement that it does not have");
            }
            if seen.insert(next) {
                states.push(next);
            }
        }
    }
    Ok(())
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) as usize) << ((unit & (1 << 9)) >> 6)
}

/// Checks all rules inside of the `normalizer` of a `tokenizer.json`.
///
/// # Errors
/// As for [`check`].
pub(super) fn check_all_in(normalizer: &Value) -> Result<(), &'static str> {
    match normalizer {
        Value::Array(values) => values.iter().try_for_each(check_all_in),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match value.as_str() {
            Some(text) if name == "precompiled_charsmap" => {
                let bytes = BASE64_STANDARD.decode(text).map_err(|_| "is no base64")?;
                check(&bytes)
            }
            _ => check_all_in(value),
        }),
        _ => Ok(()),
    }
}

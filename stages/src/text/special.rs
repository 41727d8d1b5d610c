//! The special tokens of a model folder: the published ones of the family, overridden by
//! `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` in the order in which
//! `transformers` reads them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use crate::family::Family;
use crate::stage::error::StageError;

/// The roles that a special token can have, as the files name them.
const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Special tokens by role, other special tokens, and the contents of `tokenizer_config.json`.
#[derive(Clone, Debug)]
pub struct SpecialTokens {
    by_role: BTreeMap<&'static str, AddedToken>,
    /// Tokens with a fixed id, by id.
    fixed: BTreeMap<u32, AddedToken>,
    others: Vec<AddedToken>,
    config: Map<String, Value>,
}

impl SpecialTokens {
    /// Reads the special tokens of a folder. Without files they are those of the family.
    ///
    /// # Errors
    /// A file cannot be read or is not a JSON object.
    pub fn read(folder: &Path, family: &Family) -> Result<SpecialTokens, StageError> {
        let config = read_map(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let mut tokens = SpecialTokens {
            by_role: defaults(family),
            fixed: BTreeMap::new(),
            others: Vec::new(),
            config: config.clone(),
        };
        tokens.take(&config, family);
        // The newer format has everything in `tokenizer_config.json`. If it is used, the other two
        // files are leftovers.
        if let Some(decoder) = config.get("added_tokens_decoder").and_then(Value::as_object) {
            for (id, token) in decoder {
                if let (Ok(id), Some(token)) = (id.parse(), added_token(token, false)) {
                    tokens
                        .by_role
                        .values_mut()
                        .filter(|known| known.content == token.content)
                        .for_each(|known| *known = token.clone().special(true));
                    tokens.fixed.insert(id, token);
                }
            }
            return Ok(tokens);
        }
        if let Some(map) = read_map(&folder.join("special_tokens_map.json"))? {
            tokens.take(&map, family);
        }
        for (content, id) in read_map(&folder.join("added_tokens.json"))?.unwrap_or_default() {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            if let Some(id) = id {
                let known = tokens.by_role.values().find(|token| token.content == content);
                let token = known.cloned().unwrap_or_else(|| AddedToken::from(content, false));
                tokens.fixed.insert(id, token);
            }
        }
        Ok(tokens)
    }

    fn take(&mut self, map: &Map<String, Value>, family: &Family) {
        for role in ROLES {
            // As the tokenizers of the families do for a plain text: the mask includes the space
            // before it in some of them.
            let lstrip = role == "mask_token" && family.tokens.mask_takes_space;
            if let Some(token) = map.get(role).and_then(|token| added_token(token, lstrip)) {
                self.by_role.insert(role, token.special(true));
            }
        }
        for name in ["additional_special_tokens", "extra_special_tokens"] {
            let list = map.get(name).and_then(Value::as_array);
            let tokens = list.into_iter().flatten().filter_map(|token| added_token(token, false));
            self.others.extend(tokens.map(|token| token.special(true)));
        }
    }

    /// The token with a role, for instance `unk_token`; empty if there is none.
    pub fn content(&self, role: &'static str) -> &str {
        self.by_role.get(role).map_or("", |token| &token.content)
    }

    /// All tokens. Those with a fixed id come first, ordered by id, so that tokens that the
    /// vocabulary lacks get their original ids.
    pub fn all(&self) -> Vec<AddedToken> {
        let named = ROLES.iter().filter_map(|role| self.by_role.get(role));
        self.fixed.values().chain(named).chain(&self.others).cloned().collect()
    }

    /// Whether the files list special tokens without a role.
    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// A boolean setting of `tokenizer_config.json`.
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.config.get(name).and_then(Value::as_bool)
    }
}

fn defaults(family: &Family) -> BTreeMap<&'static str, AddedToken> {
    let token = |(role, text): &(&'static str, &'static str)| {
        let lstrip = *role == "mask_token" && family.tokens.mask_takes_space;
        (*role, AddedToken::from(*text, true).lstrip(lstrip))
    };
    family.tokens.special.iter().map(token).collect()
}

/// A token as these files represent it: a plain text, or an object with `content` and flags.
fn added_token(value: &Value, lstrip: bool) -> Option<AddedToken> {
    if let Some(text) = value.as_str() {
        return Some(AddedToken::from(text, true).lstrip(lstrip));
    }
    let flag = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
    let token = AddedToken::from(value.get("content")?.as_str()?, flag("special"))
        .lstrip(flag("lstrip"))
        .rstrip(flag("rstrip"))
        .single_word(flag("single_word"));
    Some(token.normalized(false))
}

/// The JSON object in a file; `None` if the file does not exist.
pub(super) fn read_map(path: &Path) -> Result<Option<Map<String, Value>>, StageError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StageError::io("reading", path)(error)),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|source| StageError::Json { path: path.to_owned(), source })
}

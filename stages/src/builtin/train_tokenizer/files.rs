//! Writes the folder of the tokenizer in the format of RoBERTa's, which `transformers` reads.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tokenizers::{Model, Tokenizer};

use super::params::TrainTokenizerParams;
use crate::stage::error::StageError;
use crate::stage::output::write_json;

/// The roles of RoBERTa's special tokens.
const ROLES: [(&str, &str); 7] = [
    ("bos_token", "<s>"),
    ("cls_token", "<s>"),
    ("eos_token", "</s>"),
    ("mask_token", "<mask>"),
    ("pad_token", "<pad>"),
    ("sep_token", "</s>"),
    ("unk_token", "<unk>"),
];

/// Writes all files into an existing folder.
///
/// # Errors
/// A file cannot be written.
pub fn write(
    folder: &Path,
    tokenizer: &Tokenizer,
    params: &TrainTokenizerParams,
) -> Result<(), StageError> {
    let unwritten = |error: tokenizers::Error| StageError::File {
        path: folder.to_owned(),
        problem: format!("writing the tokenizer failed: {error}"),
    };
    tokenizer.save(folder.join("tokenizer.json"), true).map_err(unwritten)?;
    tokenizer.get_model().save(folder, None).map_err(unwritten)?;
    let roles: BTreeMap<&str, Value> =
        ROLES.iter().map(|(role, text)| (*role, json!(text))).collect();
    let mut special = roles.clone();
    let mask = json!({
        "content": "<mask>", "lstrip": true, "normalized": false, "rstrip": false,
        "single_word": false,
    });
    special.insert("mask_token", mask);
    write_json(&folder.join("special_tokens_map.json"), &special)?;
    let mut config = roles;
    // By id, as a text. The order does not matter to readers.
    let mut added = BTreeMap::new();
    for token in params.added_tokens() {
        let id = tokenizer.token_to_id(&token.content).unwrap_or_default();
        let flags = json!({
            "content": token.content, "lstrip": token.lstrip, "normalized": token.normalized,
            "rstrip": token.rstrip, "single_word": token.single_word, "special": token.special,
        });
        added.insert(id.to_string(), flags);
    }
    config.insert("added_tokens_decoder", json!(added));
    config.insert("add_prefix_space", json!(params.add_prefix_space));
    config.insert("clean_up_tokenization_spaces", json!(false));
    config.insert("errors", json!("replace"));
    config.insert("tokenizer_class", json!("RobertaTokenizer"));
    config.insert("trim_offsets", json!(true));
    write_json(&folder.join("tokenizer_config.json"), &config)
}

//! `config.json` of a Hugging Face model: the family, the sizes, and the sequences that fit. This module does
//! not need burn, because `tokenize` reads the maximum sequence length from it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::stage::error::StageError;

pub use crate::text::family::Family;

/// The input of the classification head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The state of the first token, as in all published heads.
    First,
    /// The mean over all tokens except padding. `transformers` does not support it for these models.
    Mean,
}

/// The fields of `config.json` that decide shapes and behaviour. Absent ones
/// take the published values of the family, which differ from the defaults of `transformers` in places.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    pub family: Family,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    /// Rows of the position table; for RoBERTa and MPNet two more than the maximum sequence length.
    pub max_position_embeddings: usize,
    /// 0 if the family has no token types.
    pub type_vocab_size: usize,
    pub layer_norm_eps: f64,
    pub dropout: DropoutConfig,
    pub pad_token_id: usize,
    /// MPNet only.
    pub relative_attention_num_buckets: usize,
    pub head: HeadConfig,
    /// The whole file, so that unknown keys are written back unchanged.
    pub raw: Map<String, Value>,
}

/// The dropout rates of `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct DropoutConfig {
    pub hidden: f64,
    pub attention: f64,
    /// The rate in the classification head; by default `hidden`.
    pub classifier: f64,
}

/// The fields of `config.json` about the classification head.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadConfig {
    /// The key `pooling: first|mean`, which only this program knows.
    pub pooling: Pooling,
    /// The keys `decision_threshold` and `decision_class`, which only this program knows.
    pub threshold: Option<DecisionThreshold>,
}

/// How a head with two classes decides: for `class` if its probability is greater than `value`, else for the
/// other. The threshold stays with its class if the classes get another order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecisionThreshold {
    pub value: f64,
    /// 0 or 1.
    pub class: usize,
}

/// The keys of a [`DecisionThreshold`] in `config.json`. A file without the second one means the last class.
pub const DECISION_THRESHOLD: &str = "decision_threshold";
pub const DECISION_CLASS: &str = "decision_class";

impl ModelConfig {
    /// Reads `config.json` in a model folder.
    pub fn read(folder: &Path) -> Result<ModelConfig, StageError> {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(StageError::io("reading", &path))?;
        let raw = serde_json::from_str(&text)
            .map_err(|source| StageError::Json { path: path.clone(), source })?;
        Self::from_raw(raw, &path)
    }

    /// Parses the content of a `config.json`. `path` is used in errors only.
    pub fn from_raw(raw: Map<String, Value>, path: &Path) -> Result<ModelConfig, StageError> {
        let problem = |problem: String| StageError::File { path: path.to_owned(), problem };
        let model_type = raw.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let family = match model_type {
            "bert" => Family::Bert,
            // `xlm-roberta` has the same layers; its SentencePiece tokenizer.json works unchanged.
            "roberta" | "xlm-roberta" | "bertweet" => Family::Roberta,
            "mpnet" => Family::Mpnet,
            "" => return Err(problem("`model_type` is missing".to_owned())),
            other => {
                return Err(problem(format!(
                    "`model_type` is `{other}`, expected bert, roberta or mpnet"
                )));
            }
        };
        let (positions, types, eps, pad, vocab) = match family {
            Family::Bert => (512, 2, 1e-12, 0, 30_522),
            Family::Roberta => (514, 1, 1e-5, 1, 50_265),
            Family::Mpnet => (514, 0, 1e-5, 1, 30_527),
        };
        let fields = Fields { raw: &raw, path };
        let hidden = fields.float("hidden_dropout_prob", 0.1)?;
        let config = ModelConfig {
            family,
            vocab_size: fields.count("vocab_size", vocab)?,
            hidden_size: fields.count("hidden_size", 768)?,
            num_hidden_layers: fields.count("num_hidden_layers", 12)?,
            num_attention_heads: fields.count("num_attention_heads", 12)?,
            intermediate_size: fields.count("intermediate_size", 3072)?,
            max_position_embeddings: fields.count("max_position_embeddings", positions)?,
            type_vocab_size: match family {
                Family::Mpnet => 0,
                _ => fields.count("type_vocab_size", types)?,
            },
            layer_norm_eps: fields.float("layer_norm_eps", eps)?,
            dropout: DropoutConfig {
                hidden,
                attention: fields.float("attention_probs_dropout_prob", 0.1)?,
                classifier: fields.float("classifier_dropout", hidden)?,
            },
            pad_token_id: fields.count("pad_token_id", pad)?,
            relative_attention_num_buckets: fields.count("relative_attention_num_buckets", 32)?,
            head: HeadConfig {
                pooling: match raw.get("pooling").and_then(Value::as_str) {
                    None | Some("first") => Pooling::First,
                    Some("mean") => Pooling::Mean,
                    Some(other) => {
                        return Err(problem(format!(
                            "`pooling` is `{other}`, expected first or mean"
                        )));
                    }
                },
                threshold: fields.threshold()?,
            },
            raw: raw.clone(),
        };
        config.check().map_err(problem)?;
        Ok(config)
    }

    /// Refuses what the network here would compute differently.
    fn check(&self) -> Result<(), String> {
        let activation = self.raw.get("hidden_act").and_then(Value::as_str).unwrap_or("gelu");
        if activation != "gelu" {
            return Err(format!("`hidden_act` is `{activation}`, only gelu is known"));
        }
        for name in ["is_decoder", "add_cross_attention"] {
            if self.raw.get(name).is_some_and(|value| !value.is_null() && *value != false) {
                return Err(format!(
                    "`{name}` is true: a decoder, in which a token sees only those before it; only \
                     encoders are known"
                ));
            }
        }
        if self.pad_token_id >= self.vocab_size {
            return Err(format!(
                "`pad_token_id` is {}, beyond `vocab_size` {}",
                self.pad_token_id, self.vocab_size
            ));
        }
        let kind = self.raw.get("position_embedding_type").and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| *kind != "absolute") {
            return Err(format!("`position_embedding_type` is `{kind}`, only absolute is known"));
        }
        if self.num_attention_heads == 0
            || !self.hidden_size.is_multiple_of(self.num_attention_heads)
        {
            return Err(format!(
                "`hidden_size` {} is not a multiple of `num_attention_heads` {}",
                self.hidden_size, self.num_attention_heads
            ));
        }
        Ok(())
    }

    /// The maximum sequence length in tokens, special tokens included. The positions of RoBERTa and MPNet
    /// start after the padding index, so their tables have that many extra rows.
    pub fn max_tokens(&self) -> usize {
        match self.family {
            Family::Bert => self.max_position_embeddings,
            Family::Roberta | Family::Mpnet => {
                self.max_position_embeddings.saturating_sub(self.pad_token_id + 1)
            }
        }
    }

    /// Checks that the model has an embedding for every token of a sequence, its position and its type.
    ///
    /// # Errors
    /// The problem in words.
    pub fn check_sequence<T: Copy + Into<i64>>(
        &self,
        ids: &[T],
        types: Option<&[u8]>,
    ) -> Result<(), String> {
        if ids.is_empty() {
            return Err("there is no token in it".to_owned());
        }
        let limit = self.max_tokens();
        if ids.len() > limit {
            return Err(format!(
                "a sequence of {} tokens is beyond the model's {limit}",
                ids.len()
            ));
        }
        let words = 0..self.vocab_size as i64;
        if let Some(id) = ids.iter().map(|id| (*id).into()).find(|id| !words.contains(id)) {
            return Err(format!("token {id} is beyond the model's vocabulary of {}", words.end));
        }
        let kinds = self.type_vocab_size.max(1);
        match types.unwrap_or_default().iter().find(|kind| usize::from(**kind) >= kinds) {
            Some(kind) => Err(format!("token type {kind} is beyond the model's {kinds}")),
            None => Ok(()),
        }
    }
}

struct Fields<'a> {
    raw: &'a Map<String, Value>,
    path: &'a Path,
}

impl Fields<'_> {
    fn present(&self, name: &str) -> Option<&Value> {
        self.raw.get(name).filter(|value| !value.is_null())
    }

    fn unfit(&self, name: &str, found: &Value, expected: &str) -> StageError {
        let path: PathBuf = self.path.to_owned();
        StageError::File { path, problem: format!("`{name}` is {found}, expected {expected}") }
    }

    fn count(&self, name: &str, default: usize) -> Result<usize, StageError> {
        let Some(value) = self.present(name) else { return Ok(default) };
        value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| *number < 1 << 32)
            .ok_or_else(|| self.unfit(name, value, "a whole number"))
    }

    fn threshold(&self) -> Result<Option<DecisionThreshold>, StageError> {
        let Some(value) = self.optional_float(DECISION_THRESHOLD)? else { return Ok(None) };
        if !(0.0..=1.0).contains(&value) {
            return Err(self.unfit(DECISION_THRESHOLD, &value.into(), "a number from 0 to 1"));
        }
        let class = self.count(DECISION_CLASS, 1)?;
        if class > 1 {
            return Err(self.unfit(DECISION_CLASS, &class.into(), "0 or 1"));
        }
        Ok(Some(DecisionThreshold { value, class }))
    }

    fn float(&self, name: &str, default: f64) -> Result<f64, StageError> {
        Ok(self.optional_float(name)?.unwrap_or(default))
    }

    fn optional_float(&self, name: &str) -> Result<Option<f64>, StageError> {
        let Some(value) = self.present(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.unfit(name, value, "a number"))
    }
}

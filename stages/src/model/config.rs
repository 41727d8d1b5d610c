//! `config.json` of a Hugging Face model: the family, the sizes and the label names. This module does not
//! need burn, because `tokenize` reads the maximum sequence length from it.

use std::collections::BTreeMap;
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
    /// Label names by class index; empty if the file has none.
    pub labels: Vec<String>,
    /// The key `pooling: first|mean`, which only this program knows.
    pub pooling: Pooling,
    /// With two labels, the lowest probability of the last one at which it is predicted. Only this program
    /// knows the key.
    pub decision_threshold: Option<f64>,
}

/// The key in `config.json`.
pub const DECISION_THRESHOLD: &str = "decision_threshold";

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
                labels: labels(&raw),
                pooling: match raw.get("pooling").and_then(Value::as_str) {
                    None | Some("first") => Pooling::First,
                    Some("mean") => Pooling::Mean,
                    Some(other) => {
                        return Err(problem(format!(
                            "`pooling` is `{other}`, expected first or mean"
                        )));
                    }
                },
                decision_threshold: fields.optional_float(DECISION_THRESHOLD)?,
            },
            raw: raw.clone(),
        };
        let activation = raw.get("hidden_act").and_then(Value::as_str).unwrap_or("gelu");
        if activation != "gelu" {
            return Err(problem(format!("`hidden_act` is `{activation}`, only gelu is known")));
        }
        let kind = raw.get("position_embedding_type").and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| *kind != "absolute") {
            return Err(problem(format!(
                "`position_embedding_type` is `{kind}`, only absolute is known"
            )));
        }
        if config.num_attention_heads == 0
            || !config.hidden_size.is_multiple_of(config.num_attention_heads)
        {
            return Err(problem(format!(
                "`hidden_size` {} is not a multiple of `num_attention_heads` {}",
                config.hidden_size, config.num_attention_heads
            )));
        }
        Ok(config)
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
}

/// `id2label` by index; empty where it is absent or has gaps.
fn labels(raw: &Map<String, Value>) -> Vec<String> {
    let Some(map) = raw.get("id2label").and_then(Value::as_object) else { return Vec::new() };
    let by_index: BTreeMap<usize, &str> =
        map.iter().filter_map(|(id, name)| Some((id.parse().ok()?, name.as_str()?))).collect();
    let complete = by_index.keys().copied().eq(0..map.len());
    if complete { by_index.into_values().map(str::to_owned).collect() } else { Vec::new() }
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

    fn float(&self, name: &str, default: f64) -> Result<f64, StageError> {
        Ok(self.optional_float(name)?.unwrap_or(default))
    }

    fn optional_float(&self, name: &str) -> Result<Option<f64>, StageError> {
        let Some(value) = self.present(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.unfit(name, value, "a number"))
    }
}

//! `config.json` of a Hugging Face model: the family, the sizes, and the sequences that fit. This module does
//! not need burn, because `tokenize` reads the maximum sequence length from it.

mod attention;
mod fields;
mod windows;

use std::path::Path;

use serde_json::{Map, Value};

use crate::data::task::Task;
use crate::family::{Activation, ActivationOf, InputDropout, LayerForm, Positions, Projection};
use crate::stage::error::StageError;
use fields::Fields;

pub use crate::family::Family;
pub use attention::{AttentionConfig, Convolution, Disentangled, Rotary};
pub use windows::{TextWindows, WindowPooling};

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
    pub family: &'static Family,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    /// Rows of the position table; for RoBERTa and MPNet two more than the maximum sequence length.
    pub max_position_embeddings: usize,
    /// 0 if the family has no token types.
    pub type_vocab_size: usize,
    pub embedding: EmbeddingConfig,
    pub form: FormConfig,
    pub dropout: DropoutConfig,
    pub pad_token_id: usize,
    pub attention: AttentionConfig,
    pub head: HeadConfig,
    /// The whole file, so that unknown keys are written back unchanged.
    pub raw: Map<String, Value>,
}

/// The fields of `config.json` about the embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddingConfig {
    /// Features of the tables, which differ from `hidden_size` in some ELECTRAs.
    pub size: usize,
    pub has_positions: bool,
}

/// The fields of `config.json` about norms, biases and activations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FormConfig {
    pub layer_norm_eps: f64,
    pub activation: Activation,
    /// The activation of the output layer of masked language modelling.
    pub masked_lm_activation: Activation,
    pub biases: Biases,
}

/// Which layers have biases. All do, except in ModernBERT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Biases {
    pub attention: bool,
    pub feed_forward: bool,
    pub norms: bool,
    /// Of the first layer of a head.
    pub head: bool,
}

/// The dropout rates of `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct DropoutConfig {
    pub embeddings: f64,
    pub hidden: f64,
    pub attention: f64,
    /// The rate in the classification head; by default `hidden`.
    pub classifier: f64,
}

/// The fields of `config.json` about the classification head.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadConfig {
    /// In most families the key `pooling: first|mean`, which only this program knows.
    pub pooling: Pooling,
    pub activation: Activation,
    /// A dropout rate before the first layer that `classifier_dropout` does not give.
    pub input_dropout: f64,
    /// The keys `decision_threshold` and `decision_class`, which only this program knows.
    pub threshold: Option<DecisionThreshold>,
    /// The key `decision_thresholds`, which only this program knows: the threshold of each label, where a
    /// text may have several; empty if all are 0.5.
    pub thresholds: Vec<f64>,
    /// `None` if the classifier was not trained on windows of long texts.
    pub windows: Option<TextWindows>,
    /// The key `problem_type`; `None` if it is absent, or names no task.
    pub task: Option<Task>,
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
pub const DECISION_THRESHOLDS: &str = "decision_thresholds";

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
        let fields = Fields { raw: &raw, path };
        let model_type = raw.get("model_type").and_then(Value::as_str).unwrap_or_default();
        if model_type.is_empty() {
            return Err(fields.problem("`model_type` is missing".to_owned()));
        }
        let family = Family::of_model_type(model_type).ok_or_else(|| {
            let known = Family::model_types().join(", ");
            fields.problem(format!("`model_type` is `{model_type}`, expected one of {known}"))
        })?;
        let (names, defaults) = (&family.config, &family.config.defaults);
        let hidden = fields.float(names.dropout, defaults.dropout)?;
        let classifier = defaults.classifier_dropout.unwrap_or(hidden);
        let hidden_size = fields.count(names.hidden_size, defaults.hidden_size)?;
        let layers = fields.count(names.layers, defaults.layers)?;
        let positions = fields.count("max_position_embeddings", defaults.positions)?;
        let config = ModelConfig {
            family,
            vocab_size: fields.count("vocab_size", defaults.vocab_size)?,
            hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: fields.count(names.heads, defaults.heads)?,
            intermediate_size: fields.count(names.intermediate_size, defaults.intermediate_size)?,
            max_position_embeddings: positions,
            type_vocab_size: match defaults.types {
                Some(types) => fields.count("type_vocab_size", types)?,
                None => 0,
            },
            embedding: embedding(&fields, family, hidden_size)?,
            form: form(&fields, family)?,
            dropout: DropoutConfig {
                embeddings: fields.float(names.embedding_dropout, hidden)?,
                hidden,
                attention: fields.float(names.attention_dropout, defaults.attention_dropout)?,
                classifier: fields.float(names.classifier_dropout, classifier)?,
            },
            pad_token_id: fields.count("pad_token_id", defaults.pad)?,
            attention: AttentionConfig::read(&fields, family, positions, layers)?,
            head: head(&fields, family)?,
            raw: raw.clone(),
        };
        let problem = |problem: String| StageError::File { path: path.to_owned(), problem };
        config.check().map_err(problem)?;
        Ok(config)
    }

    /// Refuses what the network here would compute differently.
    fn check(&self) -> Result<(), String> {
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
        let size = self.hidden_size / self.num_attention_heads;
        if matches!(self.attention, AttentionConfig::Rotary(_)) && !size.is_multiple_of(2) {
            return Err(format!(
                "`hidden_size` {} in {} heads is {size} features for each, which cannot be rotated in pairs",
                self.hidden_size, self.num_attention_heads
            ));
        }
        Ok(())
    }

    /// The maximum sequence length in tokens, special tokens included. The positions of RoBERTa and MPNet
    /// start after the padding index, so their tables have that many extra rows.
    pub fn max_tokens(&self) -> usize {
        match self.family.embeddings.positions {
            Positions::AfterPadding(_) => {
                self.max_position_embeddings.saturating_sub(self.pad_token_id + 1)
            }
            Positions::FromZero(_) | Positions::IfBiased(_) | Positions::Absent => {
                self.max_position_embeddings
            }
        }
    }

    /// The class of `transformers` for this model and a task, for instance `ForMaskedLM`.
    pub fn architecture(&self, task: &str) -> String {
        let model_type = self.raw.get("model_type").and_then(Value::as_str).unwrap_or_default();
        format!("{}{task}", self.family.class_prefix(model_type).unwrap_or_default())
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

fn embedding(
    fields: &Fields,
    family: &Family,
    hidden: usize,
) -> Result<EmbeddingConfig, StageError> {
    let size = match family.embeddings.projection {
        Projection::Absent => hidden,
        // ELECTRA's published value; DeBERTa's is the hidden size.
        Projection::AfterNorm(_) => fields.count("embedding_size", 128)?,
        Projection::BeforeNorm(_) => fields.count("embedding_size", hidden)?,
    };
    let has_positions = match family.embeddings.positions {
        Positions::FromZero(_) | Positions::AfterPadding(_) => true,
        Positions::IfBiased(_) => fields.switch("position_biased_input", true)?,
        Positions::Absent => false,
    };
    Ok(EmbeddingConfig { size, has_positions })
}

fn form(fields: &Fields, family: &Family) -> Result<FormConfig, StageError> {
    let has_biases = family.layer.form == LayerForm::PostNorm;
    let bias = |name: &str| if has_biases { Ok(true) } else { fields.switch(name, false) };
    Ok(FormConfig {
        layer_norm_eps: fields
            .float(family.config.layer_norm_eps, family.config.defaults.layer_norm_eps)?,
        activation: fields.activation(ActivationOf::Field(family.config.activation))?,
        masked_lm_activation: fields.activation(family.masked_lm.activation)?,
        biases: Biases {
            attention: bias("attention_bias")?,
            feed_forward: bias("mlp_bias")?,
            norms: bias("norm_bias")?,
            head: bias("classifier_bias")?,
        },
    })
}

fn head(fields: &Fields, family: &Family) -> Result<HeadConfig, StageError> {
    let name = family.config.pooling;
    Ok(HeadConfig {
        pooling: match fields.present(name).map(|word| (word, word.as_str())) {
            None | Some((_, Some("first" | "cls"))) => Pooling::First,
            Some((_, Some("mean"))) => Pooling::Mean,
            Some((other, _)) => return Err(fields.unfit(name, other, "first or mean")),
        },
        activation: fields.activation(family.head.activation)?,
        input_dropout: match family.head.input_dropout {
            InputDropout::Field(name) => fields.float(name, 0.0)?,
            InputDropout::Absent | InputDropout::Classifier => 0.0,
        },
        threshold: threshold(fields)?,
        thresholds: thresholds(fields)?,
        windows: TextWindows::read(fields)?,
        task: fields
            .raw
            .get("problem_type")
            .and_then(Value::as_str)
            .and_then(Task::of_problem_type),
    })
}

fn threshold(fields: &Fields) -> Result<Option<DecisionThreshold>, StageError> {
    let Some(value) = fields.optional_float(DECISION_THRESHOLD)? else { return Ok(None) };
    if !(0.0..=1.0).contains(&value) {
        return Err(fields.unfit(DECISION_THRESHOLD, &value.into(), "a number from 0 to 1"));
    }
    let class = fields.count(DECISION_CLASS, 1)?;
    if class > 1 {
        return Err(fields.unfit(DECISION_CLASS, &class.into(), "0 or 1"));
    }
    Ok(Some(DecisionThreshold { value, class }))
}

fn thresholds(fields: &Fields) -> Result<Vec<f64>, StageError> {
    let Some(value) = fields.present(DECISION_THRESHOLDS) else { return Ok(Vec::new()) };
    let one = |value: &Value| value.as_f64().filter(|value| (0.0..=1.0).contains(value));
    let list = value.as_array().and_then(|list| list.iter().map(one).collect());
    list.ok_or_else(|| fields.unfit(DECISION_THRESHOLDS, value, "a list of numbers from 0 to 1"))
}

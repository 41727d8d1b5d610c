//! What `pretrain` makes of its parameters and inputs: the model at its first step, the texts and
//! how they are grouped.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::masking::{MaskRules, Vocabulary};
use super::params;
use super::texts::{MaskedLoss, Sequences};
use crate::model::config::ModelConfig;
use crate::model::encoder::DropoutRates;
use crate::model::loading::{MaskedLmOptions, Weights};
use crate::model::masked_lm::MaskedLm;
use crate::model::ops::Precision;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::params::Params;
use crate::text::TextTokenizer;
use crate::train::optimizer::{AdamW, Moments};
use crate::train::order::{ModelShape, token_batches};
use crate::train::schedule::Schedule;
use crate::train::step::Trainer;

/// The config of the model to train, and the folder that holds its tokenizer.
pub fn config<'a>(context: &Context<'a>) -> Result<(ModelConfig, &'a Path), StageError> {
    if let Some(folder) = context.manifest.inputs.get("model") {
        return Ok((ModelConfig::read(folder)?, folder));
    }
    let Some(folder) = context.manifest.inputs.get("tokenizer") else {
        return Err(StageError::NoSuchInput { name: "tokenizer" });
    };
    let shape = Shape::of(context.params());
    // A tokenizer's size is known once it is open, which needs a config.
    let unsized_config = new_config(shape, 0, folder)?;
    let size = TextTokenizer::open(folder, unsized_config.family)?.vocab_size();
    Ok((new_config(shape, size, folder)?, folder))
}

/// A new model's shape.
#[derive(Clone, Copy)]
struct Shape {
    layers: i64,
    hidden: i64,
    heads: i64,
    intermediate: i64,
    max_position: i64,
}

impl Shape {
    /// As the parameters have it, with their defaults.
    fn of(params: &Params) -> Shape {
        let of = |name: &str, default: i64| params.optional_int(name).unwrap_or(default);
        let (hidden, heads) = params::width(params);
        Shape {
            layers: of("layers", 4),
            hidden,
            heads,
            intermediate: of("intermediate", 4 * hidden),
            max_position: of("max_position", 256),
        }
    }
}

/// A RoBERTa's config of that shape.
fn new_config(shape: Shape, vocab_size: usize, folder: &Path) -> Result<ModelConfig, StageError> {
    let fields = json!({
        "model_type": "roberta",
        "vocab_size": vocab_size,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate,
        // Positions begin after that of the padding.
        "max_position_embeddings": shape.max_position + 2,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "initializer_range": 0.02,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": true,
    });
    let raw: Map<String, Value> = fields.as_object().cloned().unwrap_or_default();
    ModelConfig::from_raw(raw, &folder.join("config.json"))
}

/// How the model is built.
pub fn load_options(params: &Params, config: &ModelConfig, folder: &Path) -> MaskedLmOptions {
    MaskedLmOptions {
        rates: DropoutRates::of(params, config),
        precision: Precision::of(params),
        seed: params.int("seed").unsigned_abs(),
        weights: Weights::of(params, folder),
    }
}

/// The texts of a training.
pub struct Texts {
    pub train: Sequences,
    /// Empty where none are held out.
    pub valid: Sequences,
    pub vocabulary: Vocabulary,
    pub rules: MaskRules,
    pub pad: u32,
}

impl Texts {
    pub fn read(
        context: &Context,
        config: &ModelConfig,
        folder: &Path,
    ) -> Result<Texts, StageError> {
        let params = context.params();
        let tokenizer = TextTokenizer::open(folder, config.family)?;
        let vocabulary = Vocabulary::of(&tokenizer, config, folder)?;
        let limit = config.max_tokens();
        let max_length = params.optional_int("max_length").map(|it| it.unsigned_abs() as usize);
        let max_length = max_length.unwrap_or(limit);
        if max_length > limit {
            let problem = format!("{max_length} tokens are beyond the model's {limit}");
            return Err(StageError::Param { name: "max_length", problem });
        }
        let read = |path| Sequences::read(context, path, &tokenizer, &vocabulary, max_length);
        let path = context.input("text")?;
        let all = read(path)?;
        let share = params.float("valid_share");
        let (train, valid) = match context.optional_input("valid") {
            Some(path) => (all, read(path)?),
            None if share > 0.0 => all.hold_out(share, params.int("seed").unsigned_abs()),
            None => (all, Sequences::default()),
        };
        if train.len() == 0 {
            let problem = "there are no texts to train on".to_owned();
            return Err(StageError::File { path: path.to_owned(), problem });
        }
        let rules = MaskRules {
            share: params.float("mask_share"),
            keep: params.float("mask_keep"),
            random: params.float("mask_random"),
            whole_word: params.bool("whole_word"),
        };
        let pad = tokenizer.special_ids().pad.unwrap_or(config.pad_token_id as u32);
        Ok(Texts { train, valid, vocabulary, rules, pad })
    }
}

/// How batches are made of the texts, and when the training ends.
pub struct Plan {
    pub batch_tokens: usize,
    pub accumulate: usize,
    pub seed: u64,
    pub total_steps: u64,
    /// `None`: at the end of each epoch.
    pub evaluate_every: Option<u64>,
}

impl Plan {
    pub fn new(params: &Params, texts: &Sequences) -> Plan {
        let mut plan = Plan {
            batch_tokens: params.count("batch_tokens"),
            accumulate: params.count("accumulate"),
            seed: params.int("seed").unsigned_abs(),
            total_steps: 0,
            evaluate_every: params.optional_int("evaluate_every").map(i64::unsigned_abs),
        };
        plan.total_steps = match params.optional_int("steps") {
            Some(steps) => steps.unsigned_abs(),
            // Which texts meet in a batch decides how many batches an epoch has.
            None => (0..params.int("epochs").unsigned_abs())
                .map(|epoch| plan.steps(texts, epoch).len() as u64)
                .sum(),
        };
        plan
    }

    /// The optimiser steps of an epoch, each of some batches.
    pub fn steps(&self, texts: &Sequences, epoch: u64) -> Vec<Vec<Vec<usize>>> {
        let batches = token_batches(texts.lengths(), self.batch_tokens, self.seed, epoch);
        batches.chunks(self.accumulate).map(<[_]>::to_vec).collect()
    }
}

/// The trainer at its first step.
pub fn trainer(
    params: &Params,
    config: &ModelConfig,
    total_steps: u64,
    model: MaskedLm,
) -> Trainer<MaskedLoss> {
    Trainer {
        model,
        moments: Moments::default(),
        loss: MaskedLoss,
        optimizer: AdamW::of(params, config.num_hidden_layers),
        schedule: Schedule::of(params, total_steps),
        seed: params.int("seed").unsigned_abs(),
        dropout: true,
        frozen: None,
    }
}

/// For the memory that a token needs.
pub fn model_shape(config: &ModelConfig, share: f64) -> ModelShape {
    ModelShape {
        layers: config.num_hidden_layers,
        hidden: config.hidden_size,
        intermediate: config.intermediate_size,
        heads: config.num_attention_heads,
        // The logits of those to predict, and as much again on the way back.
        head_floats: (share * 2.0 * config.vocab_size as f64).ceil() as usize,
    }
}

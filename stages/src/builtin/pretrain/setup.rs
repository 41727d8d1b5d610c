//! Prepares a training: the model's config, the texts, their batches, and the trainer before its
//! first step.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::masking::Vocabulary;
use super::params::{MaskRules, NEW_MODEL, PretrainParams, Shape};
use super::texts::{MaskedLoss, Sequences};
use crate::family::ROBERTA;
use crate::model::config::ModelConfig;
use crate::model::loading::MaskedLmOptions;
use crate::model::masked_lm::MaskedLm;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::text::TextTokenizer;
use crate::train::optimizer::Moments;
use crate::train::order::{ModelShape, token_batches};
use crate::train::params::TrainingParams;
use crate::train::step::Trainer;

/// The config of the model to train, and the folder with its tokenizer.
pub fn config<'a>(
    context: &'a Context,
    params: &PretrainParams,
) -> Result<(ModelConfig, &'a Path), StageError> {
    if let Some(folder) = context.optional_input("model") {
        return Ok((ModelConfig::read(folder)?, folder));
    }
    let folder = context.input("tokenizer")?;
    let shape = params.shape.of_new_model();
    let size = TextTokenizer::open(folder, &ROBERTA)?.vocab_size();
    Ok((new_config(shape, size, folder)?, folder))
}

/// The config of a RoBERTa with this shape.
fn new_config(shape: Shape, vocab_size: usize, folder: &Path) -> Result<ModelConfig, StageError> {
    let fields = json!({
        "model_type": "roberta",
        "vocab_size": vocab_size,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate,
        // RoBERTa's positions begin at `pad_token_id` + 1.
        "max_position_embeddings": shape.max_position + 2,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "hidden_act": "gelu",
        "hidden_dropout_prob": NEW_MODEL.dropout,
        "attention_probs_dropout_prob": NEW_MODEL.dropout,
        "initializer_range": 0.02,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": true,
    });
    let raw: Map<String, Value> = fields.as_object().cloned().unwrap_or_default();
    ModelConfig::from_raw(raw, &folder.join("config.json"))
}

/// How the model of `folder` is loaded.
pub fn load_options(
    params: &TrainingParams,
    config: &ModelConfig,
    folder: &Path,
) -> MaskedLmOptions {
    MaskedLmOptions {
        rates: params.dropout_rates(config),
        precision: params.precision,
        seed: params.seed,
        weights: params.weights(folder),
    }
}

/// The texts of a training.
pub struct Texts {
    pub train: Sequences,
    /// The held-out texts, if there are any.
    pub valid: Sequences,
    pub vocabulary: Vocabulary,
    pub rules: MaskRules,
    pub pad: u32,
}

impl Texts {
    /// Reads and tokenizes the input `text`, and the held-out texts: the input `valid`, or a share
    /// of `text`.
    pub fn read(
        context: &Context,
        params: &PretrainParams,
        config: &ModelConfig,
        folder: &Path,
    ) -> Result<Texts, StageError> {
        let tokenizer = TextTokenizer::open(folder, config.family)?;
        let vocabulary = Vocabulary::of(&tokenizer, config, folder)?;
        let limit = config.max_tokens();
        let max_length = params.max_length.unwrap_or(limit);
        if max_length > limit {
            let problem = format!("{max_length} tokens are beyond the model's {limit}");
            return Err(StageError::Param { name: "max_length", problem });
        }
        let read = |path| {
            let model = (config, &vocabulary);
            Sequences::read(context, path, params.format, &tokenizer, model, max_length)
        };
        let path = context.input("text")?;
        let all = read(path)?;
        let share = params.valid_share;
        let (train, valid) = match context.optional_input("valid") {
            Some(path) => (all, read(path)?),
            None if share > 0.0 => all.hold_out(share, params.training.seed),
            None => (all, Sequences::default()),
        };
        if train.len() == 0 {
            let problem = "there are no texts to train on".to_owned();
            return Err(StageError::File { path: path.to_owned(), problem });
        }
        let pad = tokenizer.special_ids().pad.unwrap_or(config.pad_token_id as u32);
        config.check_sequence(&[pad, vocabulary.mask], None).map_err(|problem| {
            let problem = format!("its padding or mask token does not fit the model: {problem}");
            StageError::File { path: folder.to_owned(), problem }
        })?;
        Ok(Texts { train, valid, vocabulary, rules: params.masking, pad })
    }
}

/// The batches of each optimiser step of an epoch, as rows of `texts`.
pub fn steps_of_epoch(
    params: &PretrainParams,
    texts: &Sequences,
    epoch: u64,
) -> Vec<Vec<Vec<usize>>> {
    let batches = token_batches(texts.lengths(), params.batch_tokens, params.training.seed, epoch);
    batches.chunks(params.accumulate).map(<[_]>::to_vec).collect()
}

/// The optimiser steps of the whole training.
pub fn total_steps(params: &PretrainParams, texts: &Sequences) -> u64 {
    // The number of batches differs between epochs, because each groups the texts anew.
    let of_epoch = |epoch| steps_of_epoch(params, texts, epoch).len() as u64;
    params.steps.unwrap_or_else(|| (0..params.epochs).map(of_epoch).sum())
}

/// The trainer before its first step.
pub fn trainer(
    params: &TrainingParams,
    config: &ModelConfig,
    total_steps: u64,
    model: MaskedLm,
) -> Trainer<MaskedLoss> {
    Trainer {
        model,
        moments: Moments::default(),
        loss: MaskedLoss,
        optimizer: params.adam_w(config.num_hidden_layers),
        schedule: params.schedule.over(total_steps),
        seed: params.seed,
        dropout: true,
        frozen: None,
    }
}

/// The sizes from which the memory of a token is computed; `share` of the tokens are predicted.
pub fn model_shape(config: &ModelConfig, share: f64) -> ModelShape {
    ModelShape {
        layers: config.num_hidden_layers,
        hidden: config.hidden_size,
        intermediate: config.intermediate_size,
        heads: config.num_attention_heads,
        // The logits of the tokens to predict, and their gradients.
        head_floats: (share * 2.0 * config.vocab_size as f64).ceil() as usize,
    }
}

//! What `finetune` makes of its parameters, and the checks of its token files.

use std::path::Path;

use crate::error::StageError;
use crate::model::checkpoint::has_weights;
use crate::model::config::ModelConfig;
use crate::model::encoder::DropoutRates;
use crate::model::loading::{HeadSource, LoadOptions, Weights};
use crate::params::Params;
use crate::tokenize::TokenFile;
use crate::train::optimizer::AdamW;
use crate::train::schedule::{Decay, Schedule};

pub fn load_options(
    params: &Params,
    config: &ModelConfig,
    classes: usize,
    folder: &Path,
) -> LoadOptions {
    let rate = |name: &str, own: f64| params.optional_float(name).unwrap_or(own);
    LoadOptions {
        classes,
        rates: DropoutRates {
            hidden: rate("dropout", config.hidden_dropout),
            attention: rate("attention_dropout", config.attention_dropout),
        },
        head_rate: rate("classifier_dropout", config.classifier_dropout),
        seed: params.int("seed").unsigned_abs(),
        weights: match params.text("init") {
            "random" => Weights::Random,
            "auto" if !has_weights(folder) => Weights::Random,
            _ => Weights::Pretrained,
        },
        head: if params.text("head") == "new" {
            HeadSource::New
        } else {
            HeadSource::CheckpointOrNew
        },
    }
}

pub fn optimizer(params: &Params) -> AdamW {
    AdamW {
        beta1: params.float("adam_beta1"),
        beta2: params.float("adam_beta2"),
        epsilon: params.float("adam_epsilon"),
        weight_decay: params.float("weight_decay"),
        max_gradient_norm: params.float("max_grad_norm"),
    }
}

pub fn schedule(params: &Params, total_steps: u64) -> Schedule {
    Schedule {
        peak: params.float("learning_rate"),
        decay: if params.text("schedule") == "linear" { Decay::Linear } else { Decay::Constant },
        // Rounded up, as transformers' `TrainingArguments.get_warmup_steps` does.
        warmup_steps: (params.float("warmup_ratio") * total_steps as f64).ceil() as u64,
        total_steps,
    }
}

/// The class of every training row.
pub fn classes_of(tokens: &TokenFile, path: &Path) -> Result<Vec<usize>, StageError> {
    let unfit = |problem: String| StageError::File { path: path.to_owned(), problem };
    if tokens.rows() == 0 {
        return Err(unfit("there are no training examples".to_owned()));
    }
    if tokens.label_names().len() < 2 {
        let found = tokens.label_names().join(", ");
        return Err(unfit(format!("a classifier needs two labels or more, there are: {found}")));
    }
    (0..tokens.rows())
        .map(|row| {
            tokens.label(row).ok_or_else(|| {
                unfit(format!("example `{}` has no label to train on", tokens.id(row)))
            })
        })
        .collect()
}

/// The class of every validation row, by the training file's order of labels.
pub fn valid_classes(
    tokens: &TokenFile,
    path: &Path,
    labels: &[String],
) -> Result<Vec<usize>, StageError> {
    let unfit = |problem: String| StageError::File { path: path.to_owned(), problem };
    (0..tokens.rows())
        .map(|row| {
            let class = tokens.label(row).ok_or_else(|| {
                unfit(format!("example `{}` has no label to evaluate by", tokens.id(row)))
            })?;
            let name = &tokens.label_names()[class];
            labels.iter().position(|label| label == name).ok_or_else(|| {
                unfit(format!("label `{name}` of example `{}` is not trained", tokens.id(row)))
            })
        })
        .collect()
}

/// Ids beyond the embedding table come from a tokenizer that is not this model's.
pub fn check_vocabulary(
    tokens: &TokenFile,
    config: &ModelConfig,
    path: &Path,
) -> Result<(), StageError> {
    let highest = (0..tokens.rows()).flat_map(|row| tokens.ids(row)).copied().max().unwrap_or(0);
    let problem = if highest as usize >= config.vocab_size {
        format!("token {highest} is beyond the model's vocabulary of {}", config.vocab_size)
    } else if tokens.longest() > config.max_tokens() {
        format!(
            "a sequence of {} tokens is beyond the model's {}",
            tokens.longest(),
            config.max_tokens()
        )
    } else {
        return Ok(());
    };
    let problem = format!("{problem}; was it tokenized for another model?");
    Err(StageError::File { path: path.to_owned(), problem })
}

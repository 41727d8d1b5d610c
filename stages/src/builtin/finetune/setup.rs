//! What `finetune` makes of its parameters and its token files, and the checks of both.

use std::path::Path;

use crate::data::token_file::TokenFile;
use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
use crate::model::config::{ModelConfig, Pooling};
use crate::model::encoder::DropoutRates;
use crate::model::loading::{HeadSource, LoadOptions, Weights};
use crate::model::ops::Precision;
use crate::model::parameters::Network;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::params::Params;
use crate::train::depth::Depth;
use crate::train::evaluation::{Evaluation, evaluate, probabilities};
use crate::train::loss::{Loss, MicroBatch, balanced_weights};
use crate::train::micro::Rows;
use crate::train::optimizer::{AdamW, Moments};
use crate::train::schedule::Schedule;
use crate::train::step::Trainer;

pub fn load_options(
    params: &Params,
    config: &ModelConfig,
    classes: usize,
    folder: &Path,
) -> LoadOptions {
    let head_rate = params.optional_float("classifier_dropout");
    LoadOptions {
        classes,
        rates: DropoutRates::of(params, config),
        head_rate: head_rate.unwrap_or(config.classifier_dropout),
        precision: Precision::of(params),
        seed: params.int("seed").unsigned_abs(),
        weights: Weights::of(params, folder),
        head: if params.text("head") == "new" {
            HeadSource::New
        } else {
            HeadSource::CheckpointOrNew
        },
    }
}

/// The labelled examples of a training, and how they are grouped.
pub struct Examples {
    pub train: TokenFile,
    /// The class of every training row.
    pub classes: Vec<usize>,
    pub lengths: Vec<usize>,
    /// With the class of every row.
    pub valid: Option<(TokenFile, Vec<usize>)>,
    pub labels: Vec<String>,
    pub batch_size: usize,
    pub steps_per_epoch: u64,
}

impl Examples {
    pub fn open(context: &Context) -> Result<Examples, StageError> {
        let path = context.input("train")?;
        let train = TokenFile::open(path)?;
        let labels = train.label_names().to_vec();
        let classes = classes_of(&train, path)?;
        let valid = match context.optional_input("valid") {
            None => None,
            Some(path) => {
                let valid = TokenFile::open(path)?;
                let classes = valid_classes(&valid, path, &labels)?;
                Some((valid, classes))
            }
        };
        let lengths: Vec<usize> = (0..train.rows()).map(|row| train.length(row)).collect();
        let batch_size = context.params().count("batch_size");
        let steps_per_epoch = lengths.len().div_ceil(batch_size) as u64;
        Ok(Examples { train, classes, lengths, valid, labels, batch_size, steps_per_epoch })
    }

    /// Ids beyond the embedding table come from a tokenizer that is not this model's.
    pub fn check_vocabulary(
        &self,
        config: &ModelConfig,
        context: &Context,
    ) -> Result<(), StageError> {
        check_vocabulary(&self.train, config, context.input("train")?)?;
        match (&self.valid, context.optional_input("valid")) {
            (Some((valid, _)), Some(path)) => check_vocabulary(valid, config, path),
            _ => Ok(()),
        }
    }

    /// How good the model is on the validation examples, if there are any.
    pub fn evaluate(&self, model: &Classifier) -> Result<Option<Evaluation>, StageError> {
        let Some((valid, gold)) = &self.valid else { return Ok(None) };
        let classes = self.labels.len();
        let found = probabilities(&model.frozen(), valid, classes, self.batch_size, |_| ())?;
        Ok(Some(evaluate(&found, gold, classes)))
    }
}

impl Rows<MicroBatch> for Examples {
    fn length(&self, row: usize) -> usize {
        self.lengths[row]
    }

    fn part(&self, rows: &[usize], first_row: usize) -> MicroBatch {
        let sequences = rows.iter().map(|row| (self.train.ids(*row), self.train.types(*row)));
        MicroBatch {
            batch: Batch::new(sequences, self.train.pad_id()),
            classes: rows.iter().map(|row| self.classes[*row] as i32).collect(),
            first_row,
        }
    }
}

/// The base model's config as the pipeline wants it changed.
pub fn config(
    params: &Params,
    mut config: ModelConfig,
    examples: &Examples,
) -> Result<ModelConfig, StageError> {
    config.pooling = match params.text("pooling") {
        "first" => Pooling::First,
        "mean" => Pooling::Mean,
        _ => config.pooling,
    };
    if params.text("threshold") != "none" && examples.labels.len() != 2 {
        let problem = format!(
            "a threshold is for two labels, there are {}: {}",
            examples.labels.len(),
            examples.labels.join(", ")
        );
        return Err(StageError::Param { name: "threshold", problem });
    }
    Ok(config)
}

/// The trainer at its first step.
pub fn trainer(
    params: &Params,
    config: &ModelConfig,
    examples: &Examples,
    model: Classifier,
) -> Result<Trainer, StageError> {
    let epochs = params.optional_int("schedule_epochs").unwrap_or_else(|| params.int("epochs"));
    Ok(Trainer {
        model,
        moments: Moments::default(),
        loss: Loss {
            label_smoothing: params.float("label_smoothing"),
            class_weights: class_weights(params, examples)?,
            r_drop: params.float("r_drop"),
        },
        optimizer: AdamW {
            layer_decay: params.float("layer_decay"),
            ..AdamW::of(params, config.num_hidden_layers)
        },
        schedule: Schedule::of(params, examples.steps_per_epoch * epochs.unsigned_abs()),
        seed: params.int("seed").unsigned_abs(),
        dropout: true,
        frozen: frozen(params, config)?,
    })
}

fn class_weights(params: &Params, examples: &Examples) -> Result<Vec<f64>, StageError> {
    let labels = &examples.labels;
    match params.optional_text("class_weights") {
        Some("balanced") => return Ok(balanced_weights(&examples.classes, labels.len())),
        Some(_) => return Ok(Vec::new()),
        None => {}
    }
    let weights = params.floats("class_weights");
    if weights.len() == labels.len() && weights.iter().any(|weight| *weight > 0.0) {
        return Ok(weights);
    }
    let problem = format!(
        "there must be a weight for each of the {} labels ({}), and not all may be 0; found {}",
        labels.len(),
        labels.join(", "),
        weights.len()
    );
    Err(StageError::Param { name: "class_weights", problem })
}

fn frozen(params: &Params, config: &ModelConfig) -> Result<Option<Depth>, StageError> {
    match params.optional_int("freeze").map(|layers| layers.unsigned_abs() as usize) {
        None if params.text("freeze") == "embeddings" => Ok(Some(Depth::Embeddings)),
        None | Some(0) => Ok(None),
        Some(layers) if layers <= config.num_hidden_layers => Ok(Some(Depth::Layer(layers - 1))),
        Some(layers) => {
            let found = config.num_hidden_layers;
            let problem = format!("{layers} layers cannot be frozen, the model has {found}");
            Err(StageError::Param { name: "freeze", problem })
        }
    }
}

/// The class of every training row.
fn classes_of(tokens: &TokenFile, path: &Path) -> Result<Vec<usize>, StageError> {
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
fn valid_classes(
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

fn check_vocabulary(
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

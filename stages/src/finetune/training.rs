//! The training run of `finetune`: epochs, steps, evaluation, and which model is kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use burn::tensor::Tensor;
use serde::Serialize;

use crate::error::StageError;
use crate::event::Event;
use crate::model::batch::Batch;
use crate::model::checkpoint::has_weights;
use crate::model::classifier::Classifier;
use crate::model::config::ModelConfig;
use crate::model::encoder::DropoutRates;
use crate::model::loading::{HeadSource, LoadOptions, Weights, load};
use crate::model::{device, folder};
use crate::output::OutputFile;
use crate::params::Params;
use crate::progress::Progress;
use crate::stage::Context;
use crate::text;
use crate::tokenize::TokenFile;
use crate::train::evaluation::{Evaluation, evaluate, probabilities};
use crate::train::optimizer::{AdamW, Moments};
use crate::train::order::{ModelShape, automatic_micro_batch, training_batches};
use crate::train::schedule::{Decay, Schedule};
use crate::train::step::{MicroBatch, Trainer};

/// A line of `metrics.jsonl`. How long an epoch took is not in it, since equal runs make equal
/// bytes; it is in the stage's record.
#[derive(Serialize)]
struct EpochMetrics {
    epoch: u64,
    steps: u64,
    learning_rate: f64,
    train_loss: f64,
    #[serde(flatten)]
    valid: Option<ValidMetrics>,
}

#[derive(Serialize)]
struct ValidMetrics {
    valid_loss: f64,
    valid_accuracy: f64,
    valid_precision: f64,
    valid_recall: f64,
    valid_f1: f64,
}

impl From<Evaluation> for ValidMetrics {
    fn from(of: Evaluation) -> ValidMetrics {
        ValidMetrics {
            valid_loss: of.loss,
            valid_accuracy: of.accuracy,
            valid_precision: of.precision,
            valid_recall: of.recall,
            valid_f1: of.f1,
        }
    }
}

pub fn run(context: &Context) -> Result<(), StageError> {
    let params = context.params();
    let base = context.input("model")?;
    let train = TokenFile::open(context.input("train")?)?;
    let valid = context.optional_input("valid").map(TokenFile::open).transpose()?;
    let config = ModelConfig::read(base)?;
    let labels = train.label_names().to_vec();
    let classes = classes_of(&train, context.input("train")?)?;
    let valid_classes = match (&valid, context.optional_input("valid")) {
        (Some(valid), Some(path)) => Some(valid_classes(valid, path, &labels)?),
        _ => None,
    };
    check_vocabulary(&train, &config, context.input("train")?)?;

    let chosen = device::choose(&context.manifest.device)?;
    context.emit(Event::Device { name: chosen.name });
    let options = load_options(params, &config, labels.len(), base);
    if options.weights == Weights::Random && params.text("init") == "auto" {
        let message = "the model folder holds no weights: starting from random ones".to_owned();
        context.emit(Event::Note { message });
    }
    let loaded = load(base, &config, &options, &chosen.device.autodiff())?;
    if !loaded.new_parameters.is_empty() && options.weights == Weights::Pretrained {
        let names = loaded.new_parameters.join(", ");
        context.emit(Event::Note { message: format!("new parameters: {names}") });
    }

    let lengths: Vec<usize> = (0..train.rows()).map(|row| train.length(row)).collect();
    let batch_size = params.count("batch_size");
    let epochs = params.int("epochs").unsigned_abs();
    let steps_per_epoch = lengths.len().div_ceil(batch_size) as u64;
    let total_steps = steps_per_epoch * epochs;
    let mut trainer = Trainer {
        model: loaded.model,
        moments: Moments::default(),
        optimizer: optimizer(params),
        schedule: schedule(params, total_steps),
        seed: params.int("seed").unsigned_abs(),
        dropout: true,
    };
    let shape = ModelShape {
        layers: config.num_hidden_layers,
        hidden: config.hidden_size,
        intermediate: config.intermediate_size,
        heads: config.num_attention_heads,
    };
    let micro_batch = params.optional_int("micro_batch").map(|rows| rows.unsigned_abs() as usize);

    let mut metrics_file = OutputFile::create(context.output("metrics")?)?;
    let mut progress = Progress::new(context, "step");
    let mut best: Option<(f64, Classifier)> = None;
    for epoch in 0..epochs {
        let started = Instant::now();
        let (mut loss_sum, mut tokens) = (0.0, 0);
        for rows in training_batches(&lengths, batch_size, trainer.seed, epoch) {
            let parts = micro_batches(&train, &classes, &rows, micro_batch, shape);
            let step = trainer.moments.steps;
            let loss = scalar(trainer.step(&parts))?;
            if !loss.is_finite() {
                return Err(StageError::Diverged { step, loss });
            }
            loss_sum += loss * rows.len() as f64;
            tokens += parts.iter().map(|part| part.batch.tokens()).sum::<usize>();
            progress.update_with(trainer.moments.steps, total_steps, || {
                let seconds = started.elapsed().as_secs_f64().max(1e-9);
                let epoch = (epoch + 1) as f64;
                [("epoch", epoch), ("loss", loss), ("tokens_per_second", tokens as f64 / seconds)]
            });
        }
        let train_seconds = started.elapsed().as_secs_f64();
        let evaluation = match (&valid, &valid_classes) {
            (Some(valid), Some(gold)) => {
                let model = trainer.model.frozen();
                let found = probabilities(&model, valid, labels.len(), batch_size, |_| ())?;
                Some(evaluate(&found, gold, labels.len()))
            }
            _ => None,
        };
        let row = EpochMetrics {
            epoch: epoch + 1,
            steps: trainer.moments.steps,
            learning_rate: trainer.schedule.rate(trainer.moments.steps),
            train_loss: loss_sum / lengths.len().max(1) as f64,
            valid: evaluation.map(ValidMetrics::from),
        };
        metrics_file.write_json_line(&row)?;
        let timing = [
            ("train_seconds", train_seconds),
            ("valid_seconds", started.elapsed().as_secs_f64() - train_seconds),
            ("tokens_per_second", tokens as f64 / train_seconds.max(1e-9)),
        ];
        context.emit(Event::Metrics { step: Some(epoch + 1), values: values_of(&row, &timing) });
        if let Some(evaluation) = evaluation.filter(|_| params.text("keep") == "best") {
            let figure = figure(&evaluation, params.text("metric"));
            if best.as_ref().is_none_or(|(so_far, _)| figure > *so_far) {
                best = Some((figure, trainer.model.frozen()));
            }
        }
    }
    metrics_file.finish()?;

    let model = best.map_or_else(|| trainer.model.frozen(), |(_, model)| model);
    let output = context.output("model")?;
    std::fs::create_dir_all(output).map_err(StageError::io("creating", output))?;
    folder::write(output, &model, &config, &labels)?;
    for file in text::tokenizer_files(base) {
        let Some(name) = file.file_name() else { continue };
        std::fs::copy(&file, output.join(name)).map_err(StageError::io("copying", &file))?;
    }
    Ok(())
}

fn load_options(
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

fn optimizer(params: &Params) -> AdamW {
    AdamW {
        beta1: params.float("adam_beta1"),
        beta2: params.float("adam_beta2"),
        epsilon: params.float("adam_epsilon"),
        weight_decay: params.float("weight_decay"),
        max_gradient_norm: params.float("max_grad_norm"),
    }
}

fn schedule(params: &Params, total_steps: u64) -> Schedule {
    Schedule {
        peak: params.float("learning_rate"),
        decay: if params.text("schedule") == "linear" { Decay::Linear } else { Decay::Constant },
        // Rounded up, as transformers' `TrainingArguments.get_warmup_steps` does.
        warmup_steps: (params.float("warmup_ratio") * total_steps as f64).ceil() as u64,
        total_steps,
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

/// Ids beyond the embedding table come from a tokenizer that is not this model's.
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

fn micro_batches(
    tokens: &TokenFile,
    classes: &[usize],
    rows: &[usize],
    micro_batch: Option<usize>,
    shape: ModelShape,
) -> Vec<MicroBatch> {
    let width = rows.iter().map(|row| tokens.length(*row)).max().unwrap_or_default();
    let size = micro_batch.unwrap_or_else(|| automatic_micro_batch(rows.len(), width, shape));
    let mut first_row = 0;
    rows.chunks(size)
        .map(|rows| {
            let sequences = rows.iter().map(|row| (tokens.ids(*row), tokens.types(*row)));
            let part = MicroBatch {
                batch: Batch::new(sequences, tokens.pad_id()),
                classes: rows.iter().map(|row| classes[*row] as i32).collect(),
                first_row,
            };
            first_row += rows.len();
            part
        })
        .collect()
}

fn scalar(loss: Tensor<1>) -> Result<f64, StageError> {
    let value = loss.try_into_scalar::<f32>().map_err(|error| StageError::Unavailable {
        what: "the loss on the device".to_owned(),
        problem: error.to_string(),
    })?;
    Ok(f64::from(value))
}

/// The figure to make as large as possible.
fn figure(evaluation: &Evaluation, metric: &str) -> f64 {
    match metric {
        "loss" => -evaluation.loss,
        "accuracy" => evaluation.accuracy,
        "precision" => evaluation.precision,
        "recall" => evaluation.recall,
        _ => evaluation.f1,
    }
}

/// The row's figures and the epoch's timing, for the record.
fn values_of(row: &EpochMetrics, timing: &[(&str, f64)]) -> BTreeMap<String, f64> {
    let json = serde_json::to_value(row).unwrap_or_default();
    let figures = json.as_object().into_iter().flatten();
    let figures = figures.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
    figures.chain(timing.iter().map(|(name, value)| ((*name).to_owned(), *value))).collect()
}

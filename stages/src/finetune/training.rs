//! The training run of `finetune`: epochs, steps, evaluation, and which model is kept.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use burn::tensor::Tensor;
use serde::Serialize;

use super::setup::{
    check_vocabulary, classes_of, load_options, optimizer, schedule, valid_classes,
};
use crate::error::StageError;
use crate::event::Event;
use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
use crate::model::config::ModelConfig;
use crate::model::loading::{Weights, load};
use crate::model::{device, folder};
use crate::output::OutputFile;
use crate::progress::Progress;
use crate::stage::Context;
use crate::text;
use crate::tokenize::TokenFile;
use crate::train::checkpoint::{self, Position};
use crate::train::evaluation::{Evaluation, evaluate, probabilities};
use crate::train::optimizer::Moments;
use crate::train::order::{ModelShape, automatic_micro_batch, training_batches};
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

    let mut progress = Progress::new(context, "step");
    let mut checkpoints = Checkpoints::new(context);
    let mut at = Position::default();
    let mut best: Option<Classifier> = None;
    if let Some((position, best_so_far)) =
        checkpoint::restore(&context.manifest.state, &mut trainer)?
    {
        let message = format!("resumed at step {} of {total_steps}", position.steps);
        context.emit(Event::Note { message });
        (at, best) = (position, best_so_far);
    }
    while at.epoch < epochs {
        let epoch = at.epoch;
        let (started, mut tokens) = (Instant::now(), 0);
        let batches = training_batches(&lengths, batch_size, trainer.seed, epoch);
        for rows in &batches[at.batch.min(batches.len())..] {
            let parts = micro_batches(&train, &classes, rows, micro_batch, shape);
            let loss = scalar(trainer.step(&parts))?;
            if !loss.is_finite() {
                return Err(StageError::Diverged { step: at.steps, loss });
            }
            at.steps = trainer.moments.steps;
            at.batch += 1;
            at.loss_sum_bits =
                (f64::from_bits(at.loss_sum_bits) + loss * rows.len() as f64).to_bits();
            tokens += parts.iter().map(|part| part.batch.tokens()).sum::<usize>();
            progress.update_with(at.steps, total_steps, || {
                let seconds = started.elapsed().as_secs_f64().max(1e-9);
                let epoch = (epoch + 1) as f64;
                [("epoch", epoch), ("loss", loss), ("tokens_per_second", tokens as f64 / seconds)]
            });
            checkpoints.save_if_due(&mut trainer, &at, best.as_ref());
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
            steps: at.steps,
            learning_rate: trainer.schedule.rate(at.steps),
            train_loss: f64::from_bits(at.loss_sum_bits) / lengths.len().max(1) as f64,
            valid: evaluation.map(ValidMetrics::from),
        };
        let timing = [
            ("train_seconds", train_seconds),
            ("valid_seconds", started.elapsed().as_secs_f64() - train_seconds),
            ("tokens_per_second", tokens as f64 / train_seconds.max(1e-9)),
        ];
        context.emit(Event::Metrics { step: Some(epoch + 1), values: values_of(&row, &timing) });
        // A row of numbers and fixed names always serializes.
        at.metrics.push(serde_json::to_string(&row).unwrap_or_default());
        if let Some(evaluation) = evaluation.filter(|_| params.text("keep") == "best") {
            let figure = figure(&evaluation, params.text("metric"));
            if at.best_bits.is_none_or(|so_far| figure > f64::from_bits(so_far)) {
                at.best_bits = Some(figure.to_bits());
                best = Some(trainer.model.frozen());
            }
        }
        (at.epoch, at.batch, at.loss_sum_bits) = (epoch + 1, 0, 0f64.to_bits());
        checkpoints.save_if_due(&mut trainer, &at, best.as_ref());
    }
    let mut metrics_file = OutputFile::create(context.output("metrics")?)?;
    at.metrics.iter().try_for_each(|line| metrics_file.write_line(line.as_bytes()))?;
    metrics_file.finish()?;

    let model = best.unwrap_or_else(|| trainer.model.frozen());
    let output = context.output("model")?;
    std::fs::create_dir_all(output).map_err(StageError::io("creating", output))?;
    folder::write(output, &model, &config, &labels)?;
    for file in text::tokenizer_files(base) {
        let Some(name) = file.file_name() else { continue };
        std::fs::copy(&file, output.join(name)).map_err(StageError::io("copying", &file))?;
    }
    Ok(())
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

/// Saves a checkpoint every so often, and never spends more than a twentieth of the time on it.
struct Checkpoints<'a> {
    context: &'a Context<'a>,
    pause: Duration,
    last: Instant,
}

impl<'a> Checkpoints<'a> {
    /// `PIPE_CHECKPOINT_SECONDS` says how often, by default every minute; 0 is after every step.
    fn new(context: &'a Context<'a>) -> Checkpoints<'a> {
        let wanted = std::env::var("PIPE_CHECKPOINT_SECONDS").ok();
        let seconds = wanted.and_then(|text| text.parse().ok()).unwrap_or(60);
        Checkpoints { context, pause: Duration::from_secs(seconds), last: Instant::now() }
    }

    fn save_if_due(&mut self, trainer: &mut Trainer, at: &Position, best: Option<&Classifier>) {
        if self.last.elapsed() < self.pause {
            return;
        }
        let started = Instant::now();
        let folder = self.context.manifest.state.as_path();
        let saved = std::fs::create_dir_all(folder)
            .map_err(StageError::io("creating", folder))
            .and_then(|()| checkpoint::save(folder, trainer, at, best));
        if let Err(error) = saved {
            // Training needs no checkpoint to go on; a full disk may have room again later.
            let message = format!("no checkpoint of step {}: {error}", at.steps);
            self.context.emit(Event::Warning { message });
        }
        self.last = Instant::now();
        if !self.pause.is_zero() {
            self.pause = self.pause.max(started.elapsed() * 20);
        }
    }
}

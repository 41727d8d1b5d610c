//! The training run of `finetune`: epochs, steps, evaluation, and which model is kept.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Finetune;
use super::metrics::{EpochMetrics, ValidMetrics, figure, values_of};
use super::setup::{Examples, config, load_options, trainer};
use crate::data::threshold::{Objective, ScoredRow, best_threshold};
use crate::model::classifier::Classifier;
use crate::model::config::ModelConfig;
use crate::model::loading::{Weights, load};
use crate::model::ops::Precision;
use crate::model::parameters::Network;
use crate::model::{device, folder};
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::OutputFile;
use crate::stage::progress::Progress;
use crate::stage::{Context, Continuation, Stage};
use crate::text;
use crate::train::checkpoint::{self, Position};
use crate::train::checkpoints::Checkpoints;
use crate::train::evaluation::probabilities;
use crate::train::micro::{MicroBatches, memory_failures};
use crate::train::order::{ModelShape, training_batches};
use crate::train::step::Trainer;

pub fn run(context: &Context) -> Result<(), StageError> {
    let params = context.params();
    let base = context.input("model")?;
    let examples = Examples::open(context)?;
    let config = config(params, ModelConfig::read(base)?, &examples)?;
    examples.check_vocabulary(&config, context)?;

    let chosen = device::choose(&context.manifest.device)?;
    context.emit(Event::Device { name: chosen.name });
    if let Some(message) = Precision::of(context.params()).advice(&chosen.device) {
        context.emit(Event::Note { message });
    }
    let options = load_options(params, &config, examples.labels.len(), base);
    if options.weights == Weights::Random && params.text("init") == "auto" {
        let message = "the model folder holds no weights: starting from random ones".to_owned();
        context.emit(Event::Note { message });
    }
    let loaded = load(base, &config, &options, &chosen.device.autodiff())?;
    if !loaded.new_parameters.is_empty() && params.int("epochs") == 0 {
        let problem = format!(
            "with 0 epochs a head is not trained, and the checkpoint has none that fits; new \
             parameters: {}",
            loaded.new_parameters.join(", ")
        );
        return Err(StageError::Param { name: "epochs", problem });
    }
    if !loaded.new_parameters.is_empty() && options.weights == Weights::Pretrained {
        let names = loaded.new_parameters.join(", ");
        context.emit(Event::Note { message: format!("new parameters: {names}") });
    }
    let mut trainer = trainer(params, &config, &examples, loaded.model)?;
    let mut at = Position::default();
    let mut best: Option<Classifier> = None;
    let restored = checkpoint::restore(&context.manifest.state, &mut trainer, |error| {
        let message = format!("an earlier state is not gone on from: {error}");
        context.emit(Event::Warning { message });
    })?;
    let total_steps = examples.steps_per_epoch * params.int("epochs").unsigned_abs();
    if let Some((position, best_so_far)) = restored {
        let message = format!("resumed at step {} of {total_steps}", position.steps);
        context.emit(Event::Note { message });
        (at, best) = (position, best_so_far);
        repeat_metrics(context, &at);
    }
    trainer.freeze();
    let fixed = params.optional_int("micro_batch").map(|rows| rows.unsigned_abs() as usize);
    let mut micro = MicroBatches::choose(context, fixed, shape(&config), &mut trainer, &at);
    at.activation_bytes = micro.budget.bytes;
    train(context, &examples, &mut trainer, &mut micro, &mut at, &mut best)?;

    let mut metrics_file = OutputFile::create(context.output("metrics")?)?;
    at.metrics.iter().try_for_each(|line| metrics_file.write_line(line.as_bytes()))?;
    metrics_file.finish()?;
    let values = kept_metrics(&at, best.is_some(), params.text("metric"));
    if !values.is_empty() {
        context.emit(Event::Metrics { step: None, values });
    }
    let model = best.unwrap_or_else(|| trainer.model.frozen());
    let config = with_threshold(context, config, &model, &examples)?;
    let output = context.output("model")?;
    std::fs::create_dir_all(output).map_err(StageError::io("creating", output))?;
    folder::write(output, &model, &config, &examples.labels)?;
    for file in text::tokenizer_files(base) {
        let Some(name) = file.file_name() else { continue };
        std::fs::copy(&file, output.join(name)).map_err(StageError::io("copying", &file))?;
    }
    Ok(())
}

/// The figures of the epoch whose model is kept, as the stage's results: that with the best
/// `metric`, or the last one.
fn kept_metrics(at: &Position, best: bool, metric: &str) -> BTreeMap<String, f64> {
    let rows = at.metrics.iter().map(|line| serde_json::from_str(line).unwrap_or_default());
    let rows: Vec<BTreeMap<String, f64>> = rows.collect();
    let (name, sign) = (format!("valid_{metric}"), if metric == "loss" { -1.0 } else { 1.0 });
    let rank = |row: &&BTreeMap<String, f64>| row.get(&name).map_or(f64::MIN, |it| sign * it);
    let kept = match best {
        // Of equal ones the first.
        true => rows.iter().rev().max_by(|one, two| rank(one).total_cmp(&rank(two))),
        false => rows.last(),
    };
    kept.cloned().unwrap_or_default()
}

/// The record of a run that was resumed has the figures of all its epochs.
fn repeat_metrics(context: &Context, at: &Position) {
    for line in &at.metrics {
        let row: BTreeMap<String, f64> = serde_json::from_str(line).unwrap_or_default();
        let step = row.get("epoch").map(|epoch| *epoch as u64);
        context.emit(Event::Metrics { step, values: row });
    }
}

fn shape(config: &ModelConfig) -> ModelShape {
    ModelShape {
        layers: config.num_hidden_layers,
        hidden: config.hidden_size,
        intermediate: config.intermediate_size,
        heads: config.num_attention_heads,
        head_floats: 0,
    }
}

/// Trains from where `at` is to the last epoch, or until it no longer gets better.
fn train(
    context: &Context,
    examples: &Examples,
    trainer: &mut Trainer,
    micro: &mut MicroBatches,
    at: &mut Position,
    best: &mut Option<Classifier>,
) -> Result<(), StageError> {
    let params = context.params();
    let epochs = params.int("epochs").unsigned_abs();
    let patience = params.optional_int("patience").map(i64::unsigned_abs);
    let chooses = params.text("keep") == "best" || patience.is_some();
    let mut checkpoints = Checkpoints::new(context);
    at.memory_failures = memory_failures(context);
    while at.epoch < epochs && patience.is_none_or(|patience| at.epochs_since_best < patience) {
        let started = Instant::now();
        let tokens = train_epoch(context, examples, trainer, micro, at, |trainer, at| {
            checkpoints.save_if_due(trainer, at, best.as_ref());
        })?;
        let train_seconds = started.elapsed().as_secs_f64();
        let evaluation = checkpoints.between_steps(|| examples.evaluate(&trainer.model))?;
        let row = EpochMetrics {
            epoch: at.epoch + 1,
            steps: at.steps,
            learning_rate: trainer.schedule.rate(at.steps),
            train_loss: f64::from_bits(at.loss_sum_bits) / examples.lengths.len().max(1) as f64,
            valid: evaluation.map(ValidMetrics::from),
        };
        let timing = [
            ("train_seconds", train_seconds),
            ("valid_seconds", started.elapsed().as_secs_f64() - train_seconds),
            ("tokens_per_second", tokens as f64 / train_seconds.max(1e-9)),
        ];
        context.emit(Event::Metrics { step: Some(row.epoch), values: values_of(&row, &timing) });
        // A row of numbers and fixed names always serializes.
        at.metrics.push(serde_json::to_string(&row).unwrap_or_default());
        if let Some(evaluation) = evaluation.filter(|_| chooses) {
            let figure = figure(&evaluation, params.text("metric"));
            at.epochs_since_best += 1;
            if at.best_bits.is_none_or(|so_far| figure > f64::from_bits(so_far)) {
                (at.best_bits, at.epochs_since_best) = (Some(figure.to_bits()), 0);
                *best = (params.text("keep") == "best").then(|| trainer.model.frozen());
            }
        }
        (at.epoch, at.batch, at.loss_sum_bits) = (at.epoch + 1, 0, 0f64.to_bits());
        checkpoints.save_if_due(trainer, at, best.as_ref());
    }
    if at.epoch < epochs {
        let message =
            format!("ended after epoch {}: no better one in {}", at.epoch, at.epochs_since_best);
        context.emit(Event::Note { message });
    }
    if let Continuation::By(_) = Finetune.continuation(params) {
        checkpoints.save(trainer, at, best.as_ref());
    }
    Ok(())
}

/// The rest of the epoch that is under way. Returns how many real tokens went through.
fn train_epoch(
    context: &Context,
    examples: &Examples,
    trainer: &mut Trainer,
    micro: &mut MicroBatches,
    at: &mut Position,
    mut after_step: impl FnMut(&mut Trainer, &Position),
) -> Result<usize, StageError> {
    let (started, mut tokens) = (Instant::now(), 0);
    let total_steps = examples.steps_per_epoch * context.params().int("epochs").unsigned_abs();
    let mut progress = Progress::new(context, "step");
    let batches = training_batches(&examples.lengths, examples.batch_size, trainer.seed, at.epoch);
    for rows in &batches[at.batch.min(batches.len())..] {
        let loss = micro.step(trainer, std::slice::from_ref(rows), examples, |message| {
            context.emit(Event::Warning { message });
        })?;
        if !loss.is_finite() {
            return Err(StageError::Diverged { step: at.steps, loss });
        }
        at.steps = trainer.moments.steps;
        at.batch += 1;
        at.activation_bytes = micro.budget.bytes;
        let sum = f64::from_bits(at.loss_sum_bits) + loss * rows.len() as f64;
        at.loss_sum_bits = sum.to_bits();
        tokens += rows.iter().map(|row| examples.lengths[*row]).sum::<usize>();
        progress.update_with(at.steps, total_steps, || {
            let seconds = started.elapsed().as_secs_f64().max(1e-9);
            let epoch = (at.epoch + 1) as f64;
            [("epoch", epoch), ("loss", loss), ("tokens_per_second", tokens as f64 / seconds)]
        });
        after_step(trainer, at);
    }
    Ok(tokens)
}

/// The config with the threshold that suits the validation examples best, if one is wanted.
fn with_threshold(
    context: &Context,
    mut config: ModelConfig,
    model: &Classifier,
    examples: &Examples,
) -> Result<ModelConfig, StageError> {
    config.decision_threshold = None;
    let Some((valid, gold)) = examples.valid.as_ref() else { return Ok(config) };
    let objective = match context.params().text("threshold") {
        "f1" => Objective::F1,
        "accuracy" => Objective::Accuracy,
        _ => return Ok(config),
    };
    let found = probabilities(model, valid, 2, examples.batch_size, |_| ())?;
    let scored = |(values, gold): (&[f32], &usize)| ScoredRow {
        probability: f64::from(values[1]),
        positive: *gold == 1,
    };
    let scored: Vec<ScoredRow> = found.chunks(2).zip(gold).map(scored).collect();
    if let Some(best) = best_threshold(&scored, objective) {
        config.decision_threshold = Some(best.value);
        let values = [("decision_threshold".to_owned(), best.value)].into();
        context.emit(Event::Metrics { step: None, values });
    }
    Ok(config)
}

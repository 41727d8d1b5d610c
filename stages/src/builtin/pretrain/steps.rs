//! The optimiser steps of `pretrain`, and the evaluations between them.

use std::time::Instant;

use super::evaluation::{HeldOutMetrics, StepMetrics, held_out_loss};
use super::params::PretrainParams;
use super::setup::{Texts, steps_of_epoch};
use super::texts::{Masked, MaskedLoss};
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::metric_lines::{figures, line};
use crate::stage::progress::Progress;
use crate::train::checkpoint::Position;
use crate::train::checkpoint_timer::CheckpointTimer;
use crate::train::micro::{MicroBatches, memory_failures};
use crate::train::step::Trainer;

/// Trains from `at` to the last step.
pub fn train(
    context: &Context,
    params: &PretrainParams,
    texts: &Texts,
    trainer: &mut Trainer<MaskedLoss>,
    micro: &mut MicroBatches,
    at: &mut Position,
) -> Result<(), StageError> {
    let total_steps = trainer.schedule.total_steps;
    let mut checkpoints = CheckpointTimer::new(context);
    at.memory_failures = memory_failures(context);
    let mut progress = Progress::new(context, "step");
    let (mut started, mut tokens) = (Instant::now(), 0);
    while at.steps < total_steps {
        let masked = Masked {
            sequences: &texts.train,
            rules: texts.rules,
            vocabulary: &texts.vocabulary,
            pad: texts.pad,
            seed: params.training.seed,
            purpose: "mask texts",
            epoch: at.epoch,
        };
        let steps = steps_of_epoch(params, &texts.train, at.epoch);
        for batches in &steps[at.batch.min(steps.len())..] {
            let losses = micro.step(trainer, batches, &masked, 1.0, |message| {
                context.emit(Event::Warning { message });
            })?;
            at.steps = trainer.moments.steps;
            at.batch += 1;
            at.activation_bytes = micro.budget.bytes;
            at.add_losses(&losses);
            let lengths = texts.train.lengths();
            tokens += batches.iter().flatten().map(|row| lengths[*row]).sum::<usize>();
            let per_second =
                |started: Instant| tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
            progress.update_with(at.steps, total_steps, || {
                [
                    ("epoch", (at.epoch + 1) as f64),
                    ("loss", micro.unread.latest_loss()),
                    ("tokens_per_second", per_second(started)),
                ]
            });
            let is_last = at.steps == total_steps;
            if at.batch == steps.len() {
                (at.epoch, at.batch) = (at.epoch + 1, 0);
            }
            let is_due = match params.evaluate_every {
                Some(every) => at.steps.is_multiple_of(every),
                None => at.batch == 0,
            };
            if is_due || is_last {
                at.add_losses(&micro.unread.read()?);
                let timing = (started, per_second(started));
                let evaluate = || evaluate(context, params, texts, trainer, at, timing);
                checkpoints.between_steps(evaluate)?;
                (started, tokens) = (Instant::now(), 0);
            }
            checkpoints.save_if_due(trainer, at, &mut micro.unread, None)?;
            if is_last || at.batch == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Evaluates the model and records its metrics.
fn evaluate(
    context: &Context,
    params: &PretrainParams,
    texts: &Texts,
    trainer: &Trainer<MaskedLoss>,
    at: &mut Position,
    (started, tokens_per_second): (Instant, f64),
) -> Result<(), StageError> {
    let train_seconds = started.elapsed().as_secs_f64();
    let valid = if texts.valid.len() == 0 {
        None
    } else {
        let masked = Masked {
            sequences: &texts.valid,
            rules: texts.rules,
            vocabulary: &texts.vocabulary,
            pad: texts.pad,
            seed: params.training.seed,
            purpose: "mask held-out texts",
            epoch: 0,
        };
        let loss = held_out_loss(&trainer.model, &masked, params.batch_tokens)?;
        if !loss.is_finite() {
            let what = "the loss of the held-out texts".to_owned();
            return Err(StageError::diverged(at.steps, what, loss));
        }
        Some(HeldOutMetrics::of(loss))
    };
    let steps = at.steps - step_of_last_evaluation(at)?;
    let row = StepMetrics {
        step: at.steps,
        learning_rate: trainer.schedule.rate(at.steps),
        train_loss: f64::from_bits(at.loss_sum_bits) / steps.max(1) as f64,
        valid,
    };
    let line = line(&row)?;
    let timing = [
        ("train_seconds", train_seconds),
        ("valid_seconds", started.elapsed().as_secs_f64() - train_seconds),
        ("tokens_per_second", tokens_per_second),
    ];
    context.emit(metrics_event(&line, &timing)?);
    at.metrics.push(line);
    at.loss_sum_bits = 0f64.to_bits();
    Ok(())
}

/// The step of the last line of metrics; 0 before the first.
fn step_of_last_evaluation(at: &Position) -> Result<u64, StageError> {
    let Some(line) = at.metrics.last() else { return Ok(0) };
    Ok(figures(line)?.get("step").map_or(0, |step| *step as u64))
}

/// A line of `metrics.jsonl` as an event, with timings added to its figures.
pub fn metrics_event(line: &str, timing: &[(&str, f64)]) -> Result<Event, StageError> {
    let mut values = figures(line)?;
    let step = values.remove("step").map(|step| step as u64);
    values.extend(timing.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    Ok(Event::Metrics { step, values })
}

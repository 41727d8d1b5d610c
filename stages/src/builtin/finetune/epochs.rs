//! The epochs of `finetune`: steps, evaluation, early stopping, and the best model so far.

use std::time::Instant;

use super::choices::Keep;
use super::examples::Examples;
use super::metrics::EpochMetrics;
use super::params::FinetuneParams;
use crate::model::classifier::Classifier;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::metric_lines::{figures, line};
use crate::stage::progress::Progress;
use crate::stage::{Context, Continuation};
use crate::train::checkpoint::Position;
use crate::train::checkpoint_timer::CheckpointTimer;
use crate::train::micro::{MicroBatches, memory_failures};
use crate::train::order::training_batches;
use crate::train::step::Trainer;
use crate::train::task_loss::TaskLoss;

/// Trains from `at` to the last epoch, or until `patience` ends it. `best` is the best model so
/// far, if the best model is to be kept.
pub fn train(
    context: &Context,
    params: &FinetuneParams,
    examples: &Examples,
    trainer: &mut Trainer<TaskLoss>,
    micro: &mut MicroBatches,
    at: &mut Position,
    best: &mut Option<Classifier>,
) -> Result<(), StageError> {
    let (epochs, selection) = (params.length.epochs, params.selection);
    let keeps_best = selection.keep == Keep::Best;
    let chooses = keeps_best || selection.patience.is_some();
    let mut checkpoints = CheckpointTimer::new(context);
    at.memory_failures = memory_failures(context);
    let goes_on =
        |at: &Position| selection.patience.is_none_or(|patience| at.epochs_since_best < patience);
    while at.epoch < epochs && goes_on(at) {
        let started = Instant::now();
        let total_steps = examples.steps_per_epoch * epochs;
        let tokens = train_epoch(
            context,
            examples,
            total_steps,
            trainer,
            micro,
            at,
            |trainer, at, micro| {
                checkpoints.save_if_due(trainer, at, &mut micro.unread, best.as_ref())
            },
        )?;
        let train_seconds = started.elapsed().as_secs_f64();
        let evaluation = {
            let evaluate = || examples.evaluate(&trainer.model);
            checkpoints.between_steps(|| micro.between(evaluate))?
        };
        let row = EpochMetrics {
            epoch: at.epoch + 1,
            steps: at.steps,
            learning_rate: trainer.schedule.rate(at.steps),
            train_loss: f64::from_bits(at.loss_sum_bits) / examples.lengths.len().max(1) as f64,
            valid: evaluation,
        };
        let line = line(&row)?;
        let mut values = figures(&line)?;
        values.extend([
            ("train_seconds".to_owned(), train_seconds),
            ("valid_seconds".to_owned(), started.elapsed().as_secs_f64() - train_seconds),
            ("tokens_per_second".to_owned(), tokens as f64 / train_seconds.max(1e-9)),
        ]);
        context.emit(Event::Metrics { step: Some(row.epoch), values });
        at.metrics.push(line);
        if let Some(evaluation) = row.valid.as_ref().filter(|_| chooses) {
            let rank = selection.metric.rank(evaluation, &examples.headline);
            at.epochs_since_best += 1;
            if at.best_bits.is_none_or(|so_far| rank > f64::from_bits(so_far)) {
                (at.best_bits, at.epochs_since_best) = (Some(rank.to_bits()), 0);
                // The earlier one gives its memory back first.
                *best = None;
                *best = keeps_best.then(|| micro.keep(&trainer.model)).transpose()?;
            }
        }
        (at.epoch, at.batch, at.loss_sum_bits) = (at.epoch + 1, 0, 0f64.to_bits());
        checkpoints.save_if_due(trainer, at, &mut micro.unread, best.as_ref())?;
    }
    if at.epoch < epochs {
        let message =
            format!("ended after epoch {}: no better one in {}", at.epoch, at.epochs_since_best);
        context.emit(Event::Note { message });
    }
    if let Continuation::By(_) = params.length.continuation(&params.training.schedule) {
        checkpoints.save(trainer, at, best.as_ref());
    }
    Ok(())
}

/// Trains the rest of the current epoch. Returns the number of tokens, without padding.
fn train_epoch(
    context: &Context,
    examples: &Examples,
    total_steps: u64,
    trainer: &mut Trainer<TaskLoss>,
    micro: &mut MicroBatches,
    at: &mut Position,
    mut after_step: impl FnMut(
        &mut Trainer<TaskLoss>,
        &mut Position,
        &mut MicroBatches,
    ) -> Result<(), StageError>,
) -> Result<usize, StageError> {
    let (started, mut tokens) = (Instant::now(), 0);
    let mut progress = Progress::new(context, "step");
    let batches = training_batches(&examples.lengths, examples.batch_size, trainer.seed, at.epoch);
    for rows in &batches[at.batch.min(batches.len())..] {
        let (groups, weight) = ([examples.windows_of(rows)], rows.len() as f64);
        let losses = micro.step(trainer, &groups, examples, weight, |message| {
            context.emit(Event::Warning { message });
        })?;
        at.steps = trainer.moments.steps;
        at.batch += 1;
        at.activation_bytes = micro.budget.bytes;
        at.add_losses(&losses);
        tokens += rows.iter().map(|row| examples.lengths[*row]).sum::<usize>();
        progress.update_with(at.steps, total_steps, || {
            let seconds = started.elapsed().as_secs_f64().max(1e-9);
            let epoch = (at.epoch + 1) as f64;
            let loss = micro.unread.latest_loss();
            [("epoch", epoch), ("loss", loss), ("tokens_per_second", tokens as f64 / seconds)]
        });
        after_step(trainer, at, micro)?;
    }
    at.add_losses(&micro.unread.read()?);
    Ok(tokens)
}

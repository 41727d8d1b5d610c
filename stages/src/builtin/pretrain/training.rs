//! The training run of `pretrain`: epochs, steps, evaluation, and the model folder at the end.

use std::collections::BTreeMap;
use std::time::Instant;

use super::evaluation::{self, Row, ValidRow};
use super::setup::{Plan, Texts, config, load_options, model_shape, trainer};
use super::texts::{Masked, MaskedLoss};
use crate::model::device;
use crate::model::folder::{Storage, write_masked_lm};
use crate::model::loading::{Weights, load_masked_lm};
use crate::model::ops::Precision;
use crate::model::parameters::Network;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::output::OutputFile;
use crate::stage::progress::Progress;
use crate::text;
use crate::train::checkpoint::{self, Position};
use crate::train::checkpoints::Checkpoints;
use crate::train::micro::{MicroBatches, memory_failures};
use crate::train::step::Trainer;

pub fn run(context: &Context) -> Result<(), StageError> {
    let params = context.params();
    let (config, folder) = config(context)?;
    let texts = Texts::read(context, &config, folder)?;
    let plan = Plan::new(params, &texts.train);
    let chosen = device::choose(&context.manifest.device)?;
    context.emit(Event::Device { name: chosen.name });
    if let Some(message) = Precision::of(context.params()).advice(&chosen.device) {
        context.emit(Event::Note { message });
    }
    let options = load_options(params, &config, folder);
    let (mut model, new_parameters) =
        load_masked_lm(folder, &config, &options, &chosen.device.autodiff())?;
    say_what_begins(context, &texts, &plan, model.parameter_count());
    if options.weights == Weights::Random
        && context.optional_input("model").is_some()
        && params.text("init") == "auto"
    {
        let message = "the model folder holds no weights: starting from random ones".to_owned();
        context.emit(Event::Note { message });
    }
    if options.weights == Weights::Pretrained && !new_parameters.is_empty() {
        let names = new_parameters.join(", ");
        context.emit(Event::Note { message: format!("new parameters: {names}") });
    }
    let mut trainer = trainer(params, &config, plan.total_steps, model);
    let mut at = Position::default();
    let restored = checkpoint::restore(&context.manifest.state, &mut trainer, |error| {
        let message = format!("an earlier state is not gone on from: {error}");
        context.emit(Event::Warning { message });
    })?;
    if let Some((position, _)) = restored {
        let message = format!("resumed at step {} of {}", position.steps, plan.total_steps);
        context.emit(Event::Note { message });
        at = position;
        for line in &at.metrics {
            context.emit(metrics_event(line, &[]));
        }
    }
    let shape = model_shape(&config, texts.rules.share);
    let mut micro = MicroBatches::choose(context, None, shape, &mut trainer, &at);
    at.activation_bytes = micro.budget.bytes;
    train(context, &texts, &plan, &mut trainer, &mut micro, &mut at)?;
    if let Some(line) = at.metrics.last() {
        context.emit(result_event(line));
    }

    let mut metrics_file = OutputFile::create(context.output("metrics")?)?;
    at.metrics.iter().try_for_each(|line| metrics_file.write_line(line.as_bytes()))?;
    metrics_file.finish()?;
    let output = context.output("model")?;
    std::fs::create_dir_all(output).map_err(StageError::io("creating", output))?;
    let half = params.text("save_precision") == "f16";
    let storage = if half { Storage::F16 } else { Storage::F32 };
    write_masked_lm(output, &trainer.model.frozen(), &config, storage)?;
    for file in text::tokenizer_files(folder) {
        let Some(name) = file.file_name() else { continue };
        std::fs::copy(&file, output.join(name)).map_err(StageError::io("copying", &file))?;
    }
    Ok(())
}

fn say_what_begins(context: &Context, texts: &Texts, plan: &Plan, parameters: usize) {
    let tokens: usize = texts.train.lengths().iter().sum();
    let message = format!(
        "{parameters} parameters, {} texts of {tokens} tokens, {} held out, {} steps",
        texts.train.len(),
        texts.valid.len(),
        plan.total_steps
    );
    context.emit(Event::Note { message });
    if texts.train.cut > 0 {
        let message = match texts.train.cut {
            1 => "1 text is too long and loses its end".to_owned(),
            cut => format!("{cut} texts are too long and lose their end"),
        };
        context.emit(Event::Warning { message });
    }
}

/// A line of `metrics.jsonl` as an event, with timings beside its figures.
fn metrics_event(line: &str, timing: &[(&str, f64)]) -> Event {
    let mut values: BTreeMap<String, f64> = serde_json::from_str(line).unwrap_or_default();
    let step = values.remove("step").map(|step| step as u64);
    values.extend(timing.iter().map(|(name, value)| ((*name).to_owned(), *value)));
    Event::Metrics { step, values }
}

/// The losses of the last line of `metrics.jsonl` as the stage's results.
fn result_event(line: &str) -> Event {
    let mut values: BTreeMap<String, f64> = serde_json::from_str(line).unwrap_or_default();
    values.retain(|name, _| name.contains("loss") || name.contains("perplexity"));
    Event::Metrics { step: None, values }
}

/// The step of the last evaluation.
fn evaluated_at(at: &Position) -> u64 {
    let last = at.metrics.last().and_then(|line| serde_json::from_str(line).ok());
    last.and_then(|row: serde_json::Value| row["step"].as_u64()).unwrap_or(0)
}

/// Trains from where `at` is to the last step.
fn train(
    context: &Context,
    texts: &Texts,
    plan: &Plan,
    trainer: &mut Trainer<MaskedLoss>,
    micro: &mut MicroBatches,
    at: &mut Position,
) -> Result<(), StageError> {
    let mut checkpoints = Checkpoints::new(context);
    at.memory_failures = memory_failures(context);
    let mut progress = Progress::new(context, "step");
    let (mut started, mut tokens) = (Instant::now(), 0);
    while at.steps < plan.total_steps {
        let masked = Masked {
            sequences: &texts.train,
            rules: texts.rules,
            vocabulary: &texts.vocabulary,
            pad: texts.pad,
            seed: plan.seed,
            purpose: "mask texts",
            epoch: at.epoch,
        };
        let steps = plan.steps(&texts.train, at.epoch);
        for groups in &steps[at.batch.min(steps.len())..] {
            let loss = micro.step(trainer, groups, &masked, |message| {
                context.emit(Event::Warning { message });
            })?;
            if !loss.is_finite() {
                return Err(StageError::Diverged { step: at.steps, loss });
            }
            at.steps = trainer.moments.steps;
            at.batch += 1;
            at.activation_bytes = micro.budget.bytes;
            at.loss_sum_bits = (f64::from_bits(at.loss_sum_bits) + loss).to_bits();
            let lengths = texts.train.lengths();
            tokens += groups.iter().flatten().map(|row| lengths[*row]).sum::<usize>();
            let per_second = tokens as f64 / started.elapsed().as_secs_f64().max(1e-9);
            progress.update_with(at.steps, plan.total_steps, || {
                [
                    ("epoch", (at.epoch + 1) as f64),
                    ("loss", loss),
                    ("tokens_per_second", per_second),
                ]
            });
            let is_last = at.steps == plan.total_steps;
            if at.batch == steps.len() {
                (at.epoch, at.batch) = (at.epoch + 1, 0);
            }
            let is_due = match plan.evaluate_every {
                Some(every) => at.steps.is_multiple_of(every),
                None => at.batch == 0,
            };
            if is_due || is_last {
                let timing = (started, per_second);
                let evaluate = || evaluate(context, texts, plan, trainer, at, timing);
                checkpoints.between_steps(evaluate)?;
                (started, tokens) = (Instant::now(), 0);
            }
            checkpoints.save_if_due(trainer, at, None);
            if is_last || at.batch == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Notes how good the model is now.
fn evaluate(
    context: &Context,
    texts: &Texts,
    plan: &Plan,
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
            seed: plan.seed,
            purpose: "mask held-out texts",
            epoch: 0,
        };
        let loss = evaluation::loss(&trainer.model, &masked, plan.batch_tokens)?;
        Some(ValidRow::of(loss))
    };
    let steps = at.steps - evaluated_at(at);
    let row = Row {
        step: at.steps,
        learning_rate: trainer.schedule.rate(at.steps),
        train_loss: f64::from_bits(at.loss_sum_bits) / steps.max(1) as f64,
        valid,
    };
    // A row of numbers and fixed names always serializes.
    let line = serde_json::to_string(&row).unwrap_or_default();
    let timing = [
        ("train_seconds", train_seconds),
        ("valid_seconds", started.elapsed().as_secs_f64() - train_seconds),
        ("tokens_per_second", tokens_per_second),
    ];
    context.emit(metrics_event(&line, &timing));
    at.metrics.push(line);
    at.loss_sum_bits = 0f64.to_bits();
    Ok(())
}

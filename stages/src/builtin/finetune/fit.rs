//! The training run of `finetune`: loads and resumes, trains, and writes the outputs.

use std::collections::BTreeMap;
use std::path::Path;

use super::epochs::train;
use super::examples::{Examples, Golds};
use super::params::{FinetuneParams, Freeze, Metric, ThresholdChoice};
use super::setup::{config, head, load_options, trainer};
use crate::builtin::model_output::{copy_tokenizer, create_folder, write_metrics};
use crate::builtin::open_device::open_device;
use crate::builtin::token_input::ModelTokens;
use crate::data::classification::Headline;
use crate::data::task::Task;
use crate::data::threshold::{Objective, ScoredRow, best_threshold};
use crate::model::accelerator::need::{Purpose, Work};
use crate::model::classifier::Classifier;
use crate::model::config::{DecisionThreshold, ModelConfig};
use crate::model::folder;
use crate::model::loading::{HeadSource, Weights, load};
use crate::model::parameters::Network;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::metric_lines::figures;
use crate::train::checkpoint::{self, Position};
use crate::train::evaluation::{ClassOutputs, outputs};
use crate::train::micro::MicroBatches;
use crate::train::order::ModelShape;
use crate::train::params::Init;
use crate::train::step::Trainer;
use crate::train::task_loss::TaskLoss;

pub fn run(context: &Context) -> Result<(), StageError> {
    let params = FinetuneParams::of(context.params());
    let base = context.input("model")?;
    let own = ModelConfig::read(base)?;
    let mut examples = Examples::open(context, ModelTokens::of(base, &own)?, &params)?;
    let mut config = config(&params, own, examples.task, &examples.labels)?;
    let head = head(context, &params, &mut config, base, examples.task, &examples.labels)?;

    let mut trainer = load_trainer(context, &params, &config, base, &examples, head)?;
    let mut at = Position::default();
    let mut best: Option<Classifier> = None;
    let restored = checkpoint::restore(&context.manifest.state, &mut trainer, |error| {
        let message = format!("cannot resume from the saved checkpoint: {error}");
        context.emit(Event::Warning { message });
    })?;
    if let Some((position, best_so_far)) = restored {
        let total_steps = examples.steps_per_epoch * params.length.epochs;
        let message = format!("resumed at step {} of {total_steps}", position.steps);
        context.emit(Event::Note { message });
        (at, best) = (position, best_so_far);
        report_earlier_epochs(context, &at)?;
    }
    trainer.freeze();
    if params.freeze == Freeze::All {
        examples.encode(&trainer.model, base)?;
    }
    let shape = model_shape(&config);
    let mut micro = MicroBatches::choose(context, params.micro_batch, shape, &mut trainer, &at);
    at.activation_bytes = micro.budget.bytes;
    train(context, &params, &examples, &mut trainer, &mut micro, &mut at, &mut best)?;

    write_metrics(context, &at.metrics)?;
    let metric = best.is_some().then_some(params.selection.metric);
    let values = kept_metrics(&at, metric, &examples.headline)?;
    if !values.is_empty() {
        context.emit(Event::Metrics { step: None, values });
    }
    let model = best.unwrap_or_else(|| trainer.model.frozen());
    let config = with_threshold(context, params.threshold, config, &model, &examples)?;
    let output = create_folder(context)?;
    folder::write(output, &model, &config, &examples.labels)?;
    copy_tokenizer(base, output)
}

/// Loads the model and reports where its parameters come from.
fn load_trainer(
    context: &Context,
    params: &FinetuneParams,
    config: &ModelConfig,
    base: &Path,
    examples: &Examples,
    head: HeadSource,
) -> Result<Trainer<TaskLoss>, StageError> {
    let purpose = Purpose::Training { frozen: params.freeze.parts() };
    let work = Work { config, precision: params.training.precision, purpose };
    let device = open_device(context, &work)?;
    let options = load_options(params, config, examples.labels.len(), base, head);
    if options.weights == Weights::Random && params.training.init == Init::Auto {
        let message = "the model folder holds no weights: starting from random ones".to_owned();
        context.emit(Event::Note { message });
    }
    let loaded = load(base, config, &options, &device.autodiff())?;
    let names = loaded.new_parameters.join(", ");
    if !names.is_empty() && params.length.epochs == 0 {
        let problem = format!(
            "with 0 epochs a new head stays untrained, and the checkpoint has no head that fits; \
             new parameters: {names}"
        );
        return Err(StageError::Param { name: "epochs", problem });
    }
    if !names.is_empty() && options.weights == Weights::Pretrained {
        context.emit(Event::Note { message: format!("new parameters: {names}") });
    }
    trainer(params, config, examples, loaded.model)
}

/// The metrics of the epoch whose model is kept: the epoch with the best `metric` (the first of
/// equal ones), or the last epoch if there is no `metric` to choose by.
fn kept_metrics(
    at: &Position,
    metric: Option<Metric>,
    headline: &Headline,
) -> Result<BTreeMap<String, f64>, StageError> {
    let rows: Vec<BTreeMap<String, f64>> =
        at.metrics.iter().map(|line| figures(line)).collect::<Result<_, _>>()?;
    let kept = match metric {
        Some(metric) => {
            let rank = |row: &BTreeMap<String, f64>| metric.rank_of_line(row, headline);
            rows.iter().rev().max_by(|one, two| rank(one).total_cmp(&rank(two)))
        }
        None => rows.last(),
    };
    Ok(kept.cloned().unwrap_or_default())
}

/// Reports the epochs before a resume again, so that the record has the metrics of all epochs.
fn report_earlier_epochs(context: &Context, at: &Position) -> Result<(), StageError> {
    for line in &at.metrics {
        let values = figures(line)?;
        let step = values.get("epoch").map(|epoch| *epoch as u64);
        context.emit(Event::Metrics { step, values });
    }
    Ok(())
}

fn model_shape(config: &ModelConfig) -> ModelShape {
    ModelShape {
        layers: config.num_hidden_layers,
        hidden: config.hidden_size,
        intermediate: config.intermediate_size,
        heads: config.num_attention_heads,
        head_floats: 0,
    }
}

/// The config with the threshold that is best for the validation examples, if one is wanted, else
/// with the threshold that it has.
fn with_threshold(
    context: &Context,
    wanted: ThresholdChoice,
    mut config: ModelConfig,
    model: &Classifier,
    examples: &Examples,
) -> Result<ModelConfig, StageError> {
    let objective = match wanted {
        ThresholdChoice::None => return Ok(config),
        // The threshold is one on the probability of the last label.
        ThresholdChoice::F1 if examples.headline.positive() == Some(&examples.labels[0]) => {
            Objective::OtherF1
        }
        ThresholdChoice::F1 => Objective::F1,
        ThresholdChoice::Accuracy => Objective::Accuracy,
    };
    config.head.threshold = None;
    config.head.thresholds = Vec::new();
    let Some((valid, gold)) = examples.valid.as_ref() else { return Ok(config) };
    let found = outputs(model, valid, examples.labels.len(), examples.batch_size, |_| ())?;
    let gold = match gold {
        Golds::Classes(gold) => gold,
        Golds::Sets(sets) => {
            config.head.thresholds = thresholds(context, found, sets, &examples.labels, objective)?;
            return Ok(config);
        }
        Golds::Numbers(_) => return Ok(config),
    };
    let scored = |(values, gold): (&[f32], &usize)| ScoredRow {
        // The softmax of 32-bit floats may exceed 1 by a rounding error.
        probability: f64::from(values[1]).min(1.0),
        positive: *gold == 1,
    };
    let scored: Vec<ScoredRow> = found.probabilities.chunks(2).zip(gold).map(scored).collect();
    let Some(best) = best_threshold(&scored, objective) else {
        let problem = "there are no validation examples to choose it by".to_owned();
        return Err(StageError::Param { name: "threshold", problem });
    };
    config.head.threshold = Some(DecisionThreshold { value: best.value, class: 1 });
    let values = [("decision_threshold".to_owned(), best.value)].into();
    context.emit(Event::Metrics { step: None, values });
    Ok(config)
}

/// For each label the threshold that is best for the validation examples, whose labels are `sets`.
fn thresholds(
    context: &Context,
    found: ClassOutputs,
    sets: &[Vec<usize>],
    labels: &[String],
    objective: Objective,
) -> Result<Vec<f64>, StageError> {
    let probabilities = found.scores(Task::Multi);
    let mut thresholds = Vec::with_capacity(labels.len());
    for label in 0..labels.len() {
        let scored = |(values, set): (&[f32], &Vec<usize>)| ScoredRow {
            probability: f64::from(values[label]),
            positive: set.binary_search(&label).is_ok(),
        };
        let rows: Vec<ScoredRow> =
            probabilities.chunks(labels.len()).zip(sets).map(scored).collect();
        // Without any row that has the label, every threshold is as good.
        let best = best_threshold(&rows, objective).filter(|_| rows.iter().any(|row| row.positive));
        thresholds.push(best.map_or(0.5, |best| best.value));
    }
    let changed = thresholds.iter().filter(|it| **it != 0.5).count();
    let message = format!(
        "{changed} of {} labels have another threshold than 0.5; `decision_thresholds` of the \
         model's config.json lists them",
        labels.len()
    );
    context.emit(Event::Note { message });
    Ok(thresholds)
}

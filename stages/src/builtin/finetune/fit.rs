//! The training run of `finetune`: loads and resumes, trains, and writes the outputs.

use std::collections::BTreeMap;
use std::path::Path;

use super::choices::Metric;
use super::decision::decide;
use super::epochs::train;
use super::examples::Examples;
use super::params::{FinetuneParams, Freeze};
use super::setup::{config, head, load_options, trainer};
use crate::builtin::model_output::{copy_tokenizer, create_folder, write_metrics};
use crate::builtin::open_device::open_device;
use crate::builtin::token_input::ModelTokens;
use crate::data::classification::Headline;
use crate::model::accelerator::need::{Purpose, Work};
use crate::model::classifier::Classifier;
use crate::model::config::ModelConfig;
use crate::model::folder;
use crate::model::loading::{HeadSource, Weights, load};
use crate::model::parameters::Network;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::metric_lines::figures;
use crate::train::checkpoint::{self, Position};
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
    let mut config = config(&params, own, &examples)?;
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
    let mut model = best.unwrap_or_else(|| trainer.model.frozen());
    decide(context, params.decision, &mut config, &mut model, &examples)?;
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

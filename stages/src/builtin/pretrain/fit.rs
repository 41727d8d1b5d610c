//! The training run of `pretrain`: loads and resumes, trains, and writes the outputs.

use std::path::Path;

use super::params::{PretrainParams, SavePrecision};
use super::setup::{Texts, config, load_options, model_shape, total_steps, trainer};
use super::steps::{metrics_event, train};
use super::texts::MaskedLoss;
use crate::builtin::model_output::{copy_tokenizer, create_folder, write_metrics};
use crate::builtin::open_device::open_device;
use crate::model::accelerator::need::{Purpose, Work};
use crate::model::config::ModelConfig;
use crate::model::folder::{Storage, write_masked_lm};
use crate::model::loading::{Weights, load_masked_lm};
use crate::model::parameters::Network;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::metric_lines::figures;
use crate::train::checkpoint::{self, Position};
use crate::train::micro::MicroBatches;
use crate::train::params::Init;
use crate::train::step::Trainer;

pub fn run(context: &Context) -> Result<(), StageError> {
    let params = PretrainParams::of(context.params());
    let (config, folder) = config(context, &params)?;
    let texts = Texts::read(context, &params, &config, folder)?;
    let mut trainer = load_trainer(context, &params, &config, folder, &texts)?;
    let mut at = Position::default();
    let restored = checkpoint::restore(&context.manifest.state, &mut trainer, |error| {
        let message = format!("cannot resume from the saved checkpoint: {error}");
        context.emit(Event::Warning { message });
    })?;
    if let Some((position, _)) = restored {
        let total_steps = trainer.schedule.total_steps;
        let message = format!("resumed at step {} of {total_steps}", position.steps);
        context.emit(Event::Note { message });
        at = position;
        for line in &at.metrics {
            context.emit(metrics_event(line, &[])?);
        }
    }
    let shape = model_shape(&config, params.masking.share);
    let mut micro = MicroBatches::choose(context, None, shape, &mut trainer, &at);
    at.activation_bytes = micro.budget.bytes;
    train(context, &params, &texts, &mut trainer, &mut micro, &mut at)?;
    if let Some(line) = at.metrics.last() {
        context.emit(result_event(line)?);
    }

    write_metrics(context, &at.metrics)?;
    let output = create_folder(context)?;
    let storage = match params.save_precision {
        SavePrecision::F32 => Storage::F32,
        SavePrecision::F16 => Storage::F16,
    };
    write_masked_lm(output, &trainer.model.frozen(), &config, storage)?;
    copy_tokenizer(folder, output)
}

/// Loads the model and reports the sizes of the training and where the parameters come from.
fn load_trainer(
    context: &Context,
    params: &PretrainParams,
    config: &ModelConfig,
    folder: &Path,
    texts: &Texts,
) -> Result<Trainer<MaskedLoss>, StageError> {
    let total_steps = total_steps(params, &texts.train);
    let purpose = Purpose::Training { frozen: 0 };
    let work = Work { config, precision: params.training.precision, purpose };
    let device = open_device(context, &work)?;
    let options = load_options(&params.training, config, folder);
    let (mut model, new_parameters) = load_masked_lm(folder, config, &options, &device.autodiff())?;
    report_sizes(context, texts, total_steps, model.parameter_count());
    if options.weights == Weights::Random
        && context.optional_input("model").is_some()
        && params.training.init == Init::Auto
    {
        let message = "the model folder holds no weights: starting from random ones".to_owned();
        context.emit(Event::Note { message });
    }
    if options.weights == Weights::Pretrained && !new_parameters.is_empty() {
        let names = new_parameters.join(", ");
        context.emit(Event::Note { message: format!("new parameters: {names}") });
    }
    Ok(trainer(&params.training, config, total_steps, model))
}

fn report_sizes(context: &Context, texts: &Texts, total_steps: u64, parameters: usize) {
    let tokens: usize = texts.train.lengths().iter().sum();
    let message = format!(
        "{parameters} parameters, {} texts of {tokens} tokens, {} held out, {total_steps} steps",
        texts.train.len(),
        texts.valid.len(),
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

/// The losses of the last line of `metrics.jsonl`, as the stage's results.
fn result_event(line: &str) -> Result<Event, StageError> {
    let mut values = figures(line)?;
    values.retain(|name, _| name.contains("loss") || name.contains("perplexity"));
    Ok(Event::Metrics { step: None, values })
}

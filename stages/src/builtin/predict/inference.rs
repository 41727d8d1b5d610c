//! The work of `predict`: loads the model, classifies, and writes rows in the input's order.

use std::path::Path;
use std::time::Instant;

use super::deciding::Deciding;
use super::params::PredictParams;
use crate::builtin::open_device::open_device;
use crate::builtin::token_input::ModelTokens;
use crate::data::prediction::PredictionWriter;
use crate::data::target::Target;
use crate::data::task::Task;
use crate::data::token_file::TokenFile;
use crate::model::accelerator::need::{Purpose, Work};
use crate::model::classifier::Classifier;
use crate::model::config::{ModelConfig, TextWindows, WindowPooling};
use crate::model::encoder::DropoutRates;
use crate::model::loading::{HeadSource, LoadOptions, Weights, load};
use crate::model::precision::Precision;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::progress::Progress;
use crate::train::class_outputs::{ClassOutputs, WindowOutputs};
use crate::train::evaluation::{Rounding, outputs};

pub fn run(context: &Context) -> Result<(), StageError> {
    let folder = context.input("model")?;
    let config = ModelConfig::read(folder)?;
    let params = PredictParams::of(context.params());
    let deciding = Deciding::new(folder, &config, &params)?;
    if deciding.unnamed {
        let message = "the model does not name its labels, so they are called LABEL_0, LABEL_1 and \
                       so on; `label_map` gives them your names";
        context.emit(Event::Note { message: message.to_owned() });
    }
    let mut files = Vec::new();
    let mut of_model = ModelTokens::of(folder, &config)?;
    for (input, output) in [("test", "predictions"), ("valid", "valid")] {
        if let Some(path) = context.optional_input(input) {
            let tokens = of_model.open(context, path)?;
            check_task(&tokens, path, deciding.task)?;
            note_missing_windows(context, &tokens, path, &config);
            files.push((input, output, tokens));
        }
    }
    let options = load_options(deciding.labels.len(), params.precision);
    let purpose = Purpose::Inference;
    let device =
        open_device(context, &Work { config: &config, precision: params.precision, purpose })?;
    let model = load(folder, &config, &options, &device)?.model;
    for (input, output, tokens) in files {
        let classes = deciding.labels.len();
        let pooling = params.window_pooling.pooling(&config);
        let found = classify(context, &model, &tokens, classes, params.batch_size, pooling)?;
        let found = found.scores(deciding.task);
        let answer = (input == "test").then(|| context.output("answer")).transpose()?;
        let mut writer = PredictionWriter::create(context.output(output)?, answer)?;
        for (row, values) in found.chunks(classes).enumerate() {
            let (id, gold) = (tokens.id(row).to_owned(), tokens.target(row));
            writer.write(&deciding.prediction(id, values, gold))?;
        }
        writer.finish()?;
    }
    Ok(())
}

/// Loads a whole checkpoint, with its head and without dropout.
pub fn load_options(classes: usize, precision: Precision) -> LoadOptions {
    LoadOptions {
        classes,
        rates: DropoutRates::NONE,
        head_rate: 0.0,
        precision,
        seed: 0,
        weights: Weights::Pretrained,
        head: HeadSource::Checkpoint,
    }
}

/// The outputs for each row, in the order of the file.
fn classify(
    context: &Context,
    model: &Classifier,
    tokens: &TokenFile,
    classes: usize,
    batch_size: usize,
    pooling: WindowPooling,
) -> Result<ClassOutputs, StageError> {
    let (started, total) = (Instant::now(), tokens.windows() as u64);
    let (unit, speed) = match tokens.has_windows() {
        true => ("window", "windows_per_second"),
        false => ("example", "examples_per_second"),
    };
    let mut progress = Progress::new(context, unit);
    let result = WindowOutputs::new(tokens.rows(), classes, pooling);
    outputs(model, tokens, result, batch_size, Rounding::OfRow, |done| {
        progress.update_with(done as u64, total, || {
            let seconds = started.elapsed().as_secs_f64().max(1e-9);
            [(speed, done as f64 / seconds)]
        });
    })
}

/// Warns that long texts were truncated although the model was trained on their windows.
fn note_missing_windows(context: &Context, tokens: &TokenFile, path: &Path, config: &ModelConfig) {
    let Some(TextWindows { length, stride, .. }) = config.head.windows else { return };
    if tokens.stride().is_some() {
        return;
    }
    let message = format!(
        "the model was trained on windows of long texts, and {} has none: give its `tokenize` \
         `max_length: {length}` and `window_stride: {stride}`",
        path.display()
    );
    context.emit(Event::Warning { message });
}

/// Refuses examples whose labels belong to another task than the model.
fn check_task(tokens: &TokenFile, path: &Path, task: Task) -> Result<(), StageError> {
    let other = |target: Target| target.task() != task;
    if !(0..tokens.rows()).filter_map(|row| tokens.target(row)).any(other) {
        return Ok(());
    }
    let (found, given) = (tokens.task().labels_in_words(), task.labels_in_words());
    let problem = format!("each row has {found}, but the model gives {given}");
    Err(StageError::File { path: path.to_owned(), problem })
}

//! The run of `predict`: loads the model, classifies, writes rows in the input's order.

use std::time::Instant;

use super::deciding::Deciding;
use crate::data::prediction::PredictionWriter;
use crate::data::token_file::TokenFile;
use crate::model::classifier::Classifier;
use crate::model::config::ModelConfig;
use crate::model::device;
use crate::model::encoder::DropoutRates;
use crate::model::loading::{HeadSource, LoadOptions, Weights, load};
use crate::model::ops::Precision;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::progress::Progress;
use crate::train::evaluation::probabilities;

pub fn run(context: &Context) -> Result<(), StageError> {
    let folder = context.input("model")?;
    let config = ModelConfig::read(folder)?;
    let deciding = Deciding::new(folder, &config, context.params())?;
    let options = load_options(deciding.labels.len(), Precision::of(context.params()));
    let chosen = device::choose(&context.manifest.device)?;
    context.emit(Event::Device { name: chosen.name });
    if let Some(message) = Precision::of(context.params()).advice(&chosen.device) {
        context.emit(Event::Note { message });
    }
    let model = load(folder, &config, &options, &chosen.device)?.model;
    for (input, output) in [("test", "predictions"), ("valid", "valid")] {
        let Some(path) = context.optional_input(input) else { continue };
        let tokens = TokenFile::open(path)?;
        let found = classify(context, &model, &tokens, deciding.labels.len())?;
        let answer = (input == "test").then(|| context.output("answer")).transpose()?;
        let mut writer = PredictionWriter::create(context.output(output)?, answer)?;
        for (row, values) in found.chunks(deciding.labels.len()).enumerate() {
            let gold = tokens.label(row).map(|class| tokens.label_names()[class].clone());
            writer.write(&deciding.prediction(tokens.id(row).to_owned(), values, gold))?;
        }
        writer.finish()?;
    }
    Ok(())
}

/// A whole checkpoint, with its head, as it is: nothing is trained.
pub fn load_options(classes: usize, precision: Precision) -> LoadOptions {
    LoadOptions {
        classes,
        rates: DropoutRates { hidden: 0.0, attention: 0.0 },
        head_rate: 0.0,
        precision,
        seed: 0,
        weights: Weights::Pretrained,
        head: HeadSource::Checkpoint,
    }
}

/// The probabilities of the classes, row after row in the input's order.
fn classify(
    context: &Context,
    model: &Classifier,
    tokens: &TokenFile,
    classes: usize,
) -> Result<Vec<f32>, StageError> {
    let (started, total) = (Instant::now(), tokens.rows() as u64);
    let batch_size = context.params().count("batch_size");
    let mut progress = Progress::new(context, "example");
    probabilities(model, tokens, classes, batch_size, |done| {
        progress.update_with(done as u64, total, || {
            let seconds = started.elapsed().as_secs_f64().max(1e-9);
            [("examples_per_second", done as f64 / seconds)]
        });
    })
}

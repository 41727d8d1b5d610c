//! The run of `predict`: loads the model, classifies, writes rows in the input's order.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use crate::error::StageError;
use crate::event::Event;
use crate::model::checkpoint::Checkpoint;
use crate::model::classifier::{Classifier, last_weight};
use crate::model::config::ModelConfig;
use crate::model::device;
use crate::model::encoder::DropoutRates;
use crate::model::loading::{HeadSource, LoadOptions, Weights, load};
use crate::model::ops::Precision;
use crate::params::Params;
use crate::prediction::{Prediction, PredictionWriter};
use crate::progress::Progress;
use crate::score::threshold::is_positive;
use crate::stage::Context;
use crate::tokenize::TokenFile;
use crate::train::evaluation::{argmax, probabilities};

pub fn run(context: &Context) -> Result<(), StageError> {
    let folder = context.input("model")?;
    let config = ModelConfig::read(folder)?;
    let labels = labels(folder, &config, &context.params().text_map("label_map"))?;
    let threshold = threshold(context.params(), &config, &labels)?;
    let options = LoadOptions {
        classes: labels.len(),
        rates: DropoutRates { hidden: 0.0, attention: 0.0 },
        head_rate: 0.0,
        precision: Precision::of(context.params()),
        seed: 0,
        weights: Weights::Pretrained,
        head: HeadSource::Checkpoint,
    };
    let chosen = device::choose(&context.manifest.device)?;
    context.emit(Event::Device { name: chosen.name });
    let model = load(folder, &config, &options, &chosen.device)?.model;
    for (input, output) in [("test", "predictions"), ("valid", "valid")] {
        let Some(path) = context.optional_input(input) else { continue };
        let tokens = TokenFile::open(path)?;
        let rows = classify(context, &model, &tokens, &labels, threshold)?;
        let answer = (input == "test").then(|| context.output("answer")).transpose()?;
        let mut writer = PredictionWriter::create(context.output(output)?, answer)?;
        rows.iter().try_for_each(|row| writer.write(row))?;
        writer.finish()?;
    }
    Ok(())
}

/// The label of each class: the model's own names, mapped.
fn labels(
    folder: &Path,
    config: &ModelConfig,
    map: &BTreeMap<String, String>,
) -> Result<Vec<String>, StageError> {
    let own = if config.labels.is_empty() {
        // A checkpoint without names: transformers calls them so too.
        let checkpoint = Checkpoint::open(folder)?;
        let classes =
            checkpoint.get(last_weight(config.family)).map_or(2, |tensor| tensor.shape[0]);
        (0..classes).map(|class| format!("LABEL_{class}")).collect()
    } else {
        config.labels.clone()
    };
    if let Some(unknown) = map.keys().find(|name| !own.contains(name)) {
        return Err(StageError::Param {
            name: "label_map",
            problem: format!("the model has no label `{unknown}`; it has {}", own.join(", ")),
        });
    }
    Ok(own.into_iter().map(|name| map.get(&name).cloned().unwrap_or(name)).collect())
}

/// From which probability on the last of two labels is predicted, if not simply the likelier
/// one.
fn threshold(
    params: &Params,
    config: &ModelConfig,
    labels: &[String],
) -> Result<Option<f64>, StageError> {
    let wanted = match params.optional_text("threshold") {
        Some("auto") => config.decision_threshold,
        Some(_) => None,
        None => params.optional_float("threshold"),
    };
    if wanted.is_some() && (labels.len() != 2 || labels[0] == labels[1]) {
        let problem = format!("a threshold is for two labels, there are: {}", labels.join(", "));
        return Err(StageError::Param { name: "threshold", problem });
    }
    Ok(wanted)
}

fn classify(
    context: &Context,
    model: &Classifier,
    tokens: &TokenFile,
    labels: &[String],
    threshold: Option<f64>,
) -> Result<Vec<Prediction>, StageError> {
    let (started, total) = (Instant::now(), tokens.rows() as u64);
    let batch_size = context.params().count("batch_size");
    let mut progress = Progress::new(context, "example");
    let found = probabilities(model, tokens, labels.len(), batch_size, |done| {
        progress.update_with(done as u64, total, || {
            let seconds = started.elapsed().as_secs_f64().max(1e-9);
            [("examples_per_second", done as f64 / seconds)]
        });
    })?;
    let rows = found.chunks(labels.len()).enumerate().map(|(row, values)| {
        let probabilities = probabilities_by_label(labels, values);
        let label = match threshold {
            Some(threshold) => {
                labels[usize::from(is_positive(probabilities[&labels[1]], threshold))].clone()
            }
            None => likeliest(labels, &probabilities),
        };
        Prediction {
            id: tokens.id(row).to_owned(),
            label,
            probabilities,
            gold: tokens.label(row).map(|class| tokens.label_names()[class].clone()),
        }
    });
    Ok(rows.collect())
}

/// Classes that are mapped to one label add up.
fn probabilities_by_label(labels: &[String], values: &[f32]) -> BTreeMap<String, f64> {
    let mut result = BTreeMap::new();
    for (label, value) in labels.iter().zip(values) {
        *result.entry(label.clone()).or_insert(0.0) += f64::from(*value);
    }
    result
}

/// The label of the highest probability; of equals the one of the first class.
fn likeliest(labels: &[String], probabilities: &BTreeMap<String, f64>) -> String {
    let values: Vec<f64> = labels.iter().map(|label| probabilities[label]).collect();
    labels[argmax(&values)].clone()
}

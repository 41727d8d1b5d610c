//! Writes a model as a Hugging Face model folder that `transformers` can load: `config.json` (with
//! label names for a classifier) and `model.safetensors`.

use std::path::Path;

use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};

use super::classifier::Classifier;
use super::config::{
    DECISION_CLASS, DECISION_THRESHOLD, DECISION_THRESHOLDS, ModelConfig, Pooling, TextWindows,
};
use super::masked_lm::MaskedLm;
use super::parameters::{Network, Parameter, transposed};
use crate::data::finite::first_not_finite;
use crate::data::task::Task;
use crate::stage::error::{StageError, hints};

/// Writes `model` to `folder`, which must exist. `labels` name the classes by index.
pub fn write(
    folder: &Path,
    model: &Classifier,
    config: &ModelConfig,
    labels: &[String],
) -> Result<(), StageError> {
    write_config(folder, config, labels)?;
    write_weights(&folder.join("model.safetensors"), model, Storage::F32)
}

/// The number format of stored weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    F32,
    /// Half the size. Loading widens the values to f32 again.
    F16,
}

/// Writes a masked language model to `folder`, which must exist.
pub fn write_masked_lm(
    folder: &Path,
    model: &MaskedLm,
    config: &ModelConfig,
    storage: Storage,
) -> Result<(), StageError> {
    let mut raw = without_origin(config);
    // Keys that describe the labels and the head of a classifier.
    let of_head = ["id2label", "label2id", "problem_type", "pooling"];
    let of_head = of_head.iter().chain(&[DECISION_THRESHOLD, DECISION_CLASS, DECISION_THRESHOLDS]);
    of_head.for_each(|key| drop(raw.remove(*key)));
    TextWindows::write(None, &mut raw);
    raw.insert("architectures".to_owned(), json!([config.architecture("ForMaskedLM")]));
    let dtype = if storage == Storage::F16 { "float16" } else { "float32" };
    raw.insert("dtype".to_owned(), json!(dtype));
    write_raw(folder, &raw)?;
    write_weights(&folder.join("model.safetensors"), model, storage)
}

fn write_config(folder: &Path, config: &ModelConfig, labels: &[String]) -> Result<(), StageError> {
    let mut raw = without_origin(config);
    let by_index: Map<String, Value> =
        labels.iter().enumerate().map(|(index, name)| (index.to_string(), json!(name))).collect();
    let by_name: Map<String, Value> =
        labels.iter().enumerate().map(|(index, name)| (name.clone(), json!(index))).collect();
    let architecture = config.architecture("ForSequenceClassification");
    raw.insert("architectures".to_owned(), json!([architecture]));
    raw.insert("id2label".to_owned(), Value::Object(by_index));
    raw.insert("label2id".to_owned(), Value::Object(by_name));
    raw.insert(
        "problem_type".to_owned(),
        json!(config.head.task.unwrap_or(Task::Single).problem_type()),
    );
    raw.insert("dtype".to_owned(), json!("float32"));
    // Keys that only this program knows are written only if they differ from the default.
    let pooling = config.family.config.pooling;
    if config.head.pooling == Pooling::Mean {
        raw.insert(pooling.to_owned(), json!("mean"));
    } else {
        raw.remove(pooling);
    }
    TextWindows::write(config.head.windows, &mut raw);
    raw.remove(DECISION_THRESHOLD);
    raw.remove(DECISION_CLASS);
    raw.remove(DECISION_THRESHOLDS);
    if !config.head.thresholds.is_empty() {
        raw.insert(DECISION_THRESHOLDS.to_owned(), json!(config.head.thresholds));
    }
    if let Some(threshold) = config.head.threshold {
        raw.insert(DECISION_THRESHOLD.to_owned(), json!(threshold.value));
        if threshold.class != 1 {
            raw.insert(DECISION_CLASS.to_owned(), json!(threshold.class));
        }
    }
    write_raw(folder, &raw)
}

/// The config without the keys that name its origin and the program that wrote it.
fn without_origin(config: &ModelConfig) -> Map<String, Value> {
    let mut raw = config.raw.clone();
    for key in ["_name_or_path", "transformers_version", "torch_dtype", "_num_labels"] {
        raw.remove(key);
    }
    raw
}

fn write_raw(folder: &Path, raw: &Map<String, Value>) -> Result<(), StageError> {
    let path = folder.join("config.json");
    let mut text = serde_json::to_string_pretty(raw)
        .map_err(|source| StageError::Json { path: path.clone(), source })?;
    text.push('\n');
    std::fs::write(&path, text).map_err(StageError::io("writing", &path))
}

fn write_weights(path: &Path, model: &impl Network, storage: Storage) -> Result<(), StageError> {
    let mut model = model.clone();
    let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, parameter) in model.parameters() {
        let (shape, values) = stored(&parameter, path)?;
        check(&name, &values, storage)?;
        let bytes = match storage {
            Storage::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Storage::F16 => {
                values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()
            }
        };
        tensors.push((name, shape, bytes));
    }
    let unwritable = |problem: safetensors::SafeTensorError| StageError::File {
        path: path.to_owned(),
        problem: format!("writing failed: {problem}"),
    };
    let dtype = if storage == Storage::F16 { Dtype::F16 } else { Dtype::F32 };
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((name.as_str(), TensorView::new(dtype, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(unwritable)?;
    // A single entry, because the iteration order of a hash map is not fixed.
    let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
    safetensors::serialize_to_file(views, metadata, path).map_err(unwritable)
}

/// Refuses values that are not finite, or are too large for the number format.
fn check(name: &str, values: &[f32], storage: Storage) -> Result<(), StageError> {
    if let Some(at) = first_not_finite(values) {
        let doing = "the trained model is unusable".to_owned();
        let (what, value) = (format!("a value of `{name}`"), f64::from(values[at]));
        return Err(StageError::NotFinite { doing, what, value, hint: hints::TRAINING });
    }
    let too_large = |value: &&f32| storage == Storage::F16 && f16::from_f32(**value).is_infinite();
    let Some(value) = values.iter().find(too_large) else { return Ok(()) };
    let problem = format!("`f16` cannot hold {value}, a value of `{name}`; use `f32`");
    Err(StageError::Param { name: "save_precision", problem })
}

/// The shape and values of a parameter in the layout of a checkpoint.
pub fn stored(
    parameter: &Parameter<'_>,
    path: &Path,
) -> Result<(Vec<usize>, Vec<f32>), StageError> {
    let values = parameter.values(path)?;
    Ok(match parameter {
        Parameter::Vector(tensor) => (tensor.dims().to_vec(), values),
        Parameter::Table(tensor) => (tensor.dims().to_vec(), values),
        Parameter::Weight(tensor) => {
            let [inputs, outputs] = tensor.dims();
            (vec![outputs, inputs], transposed(&values, inputs, outputs))
        }
        Parameter::Kernel { weight, size } => {
            let [inputs, outputs] = weight.dims();
            let shape = vec![outputs, inputs / size.max(&1), *size];
            (shape, transposed(&values, inputs, outputs))
        }
    })
}

//! What the tests of the model share: the tiny checkpoints, the results of transformers on them,
//! and a trainer for each.

#![cfg(feature = "model")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn::tensor::Device;
use safetensors::{Dtype, SafeTensors};
use stages::StageError;
use stages::model::accelerator;
use stages::model::batch::Batch;
use stages::model::classifier::Classifier;
use stages::model::config::ModelConfig;
use stages::model::encoder::DropoutRates;
use stages::model::loading::{HeadSource, LoadOptions, Weights, load};
use stages::model::precision::Precision;
use stages::train::gradient::Gradient;
use stages::train::loss::{Loss, MicroBatch};
use stages::train::optimizer::{AdamW, Moments};
use stages::train::schedule::{Decay, Schedule};
use stages::train::step::Trainer;

pub const FAMILIES: [&str; 11] = [
    "bert",
    "roberta",
    "mpnet",
    "xlm-roberta",
    "camembert",
    "distilbert",
    "electra",
    "deberta-v2",
    "deberta-v2-conv",
    "modernbert",
    "modernbert-biased",
];

/// The device that the tests of the model run on: the one called [`device_name`].
pub fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let named =
        || accelerator::choose(device_name()).unwrap_or_else(|error| panic!("{error}")).device;
    DEVICE.get_or_init(named).clone()
}

/// `PIPE_TEST_DEVICE`, by default the CPU.
pub fn device_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| std::env::var("PIPE_TEST_DEVICE").unwrap_or("cpu".to_owned()))
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/model").join(name)
}

/// The tensors of an `expected.safetensors`, with their shapes.
pub struct Expected(pub BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Expected {
    pub fn read(name: &str) -> Expected {
        Expected::read_file(&fixture(name).join("expected.safetensors"))
    }

    pub fn read_file(path: &Path) -> Expected {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| {
            let words = view.data().as_chunks::<4>().0.iter();
            let values = match view.dtype() {
                Dtype::F32 => words.map(|word| f32::from_le_bytes(*word)).collect(),
                Dtype::I32 => words.map(|word| i32::from_le_bytes(*word) as f32).collect(),
                other => panic!("unexpected data type {other:?}"),
            };
            (name.to_owned(), (view.shape().to_vec(), values))
        });
        Expected(tensors.collect())
    }

    pub fn floats(&self, name: &str) -> &[f32] {
        &self.0[name].1
    }

    pub fn ints(&self, name: &str) -> Vec<i32> {
        self.floats(name).iter().map(|value| *value as i32).collect()
    }

    /// The batch, padded on `side`, `right` or `left`.
    pub fn batch(&self, side: &str) -> Batch {
        let suffix = if side == "left" { "_left" } else { "" };
        let [rows, width] = self.0["ids"].0[..] else { panic!("`ids` is not a matrix") };
        let mask = self.ints(&format!("mask_{side}"));
        Batch {
            rows,
            width,
            ids: self.ints(&format!("ids{suffix}")),
            types: Some(self.ints(&format!("types{suffix}"))),
            mask: mask.iter().map(|real| *real == 1).collect(),
            pooled: None,
        }
    }
}

pub fn options(head: HeadSource) -> LoadOptions {
    LoadOptions {
        classes: 2,
        rates: DropoutRates::NONE,
        head_rate: 0.0,
        precision: Precision::F32,
        seed: 1,
        weights: Weights::Pretrained,
        head,
    }
}

pub fn try_load(
    folder: &Path,
    head: HeadSource,
    device: &Device,
) -> Result<Classifier, StageError> {
    let config = ModelConfig::read(folder)?;
    Ok(load(folder, &config, &options(head), device)?.model)
}

#[track_caller]
pub fn loaded(name: &str, device: &Device) -> Classifier {
    try_load(&fixture(name), HeadSource::Checkpoint, device).unwrap()
}

/// Asserts that no value is off by more than `tolerance` times the largest expected magnitude.
#[track_caller]
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-4f32, |scale, value| scale.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / scale;
        assert!(error <= tolerance, "{what}[{index}] is {found}, expected {expected}");
    }
}

pub fn logits(model: &Classifier, batch: &Batch) -> Vec<f32> {
    model.logits(batch, None).try_into_vec_as::<f32>().unwrap()
}

pub fn whole_batch(expected: &Expected) -> MicroBatch {
    MicroBatch {
        batch: expected.batch("right"),
        classes: expected.ints("classes"),
        weights: Vec::new(),
        first_row: 0,
    }
}

pub fn trainer(family: &str) -> Trainer {
    trainer_on(family, &device())
}

pub fn trainer_on(family: &str, device: &Device) -> Trainer {
    Trainer {
        model: loaded(family, &device.clone().autodiff()),
        moments: Moments::default(),
        loss: Loss::default(),
        optimizer: AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            max_gradient_norm: 1.0,
            layer_decay: 1.0,
            layers: 2,
        },
        schedule: Schedule {
            learning_rate: 2e-3,
            decay: Decay::Linear,
            warmup_steps: 2,
            total_steps: 10,
        },
        seed: 1,
        dropout: false,
        frozen: None,
    }
}

/// The losses of ten steps on the whole batch.
pub fn ten_losses(trainer: &mut Trainer, expected: &Expected) -> Vec<f32> {
    let step =
        |_| trainer.step(&[whole_batch(expected)], 1).unwrap().try_into_scalar::<f32>().unwrap();
    (0..10).map(step).collect()
}

/// A copy of a fixture that a test may damage.
pub fn copy_of(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// A gradient in the checkpoint's layout; zeros if the loss does not depend on the parameter.
pub fn as_stored(name: &str, shape: &[usize], gradient: Option<Gradient>) -> Vec<f32> {
    let count = shape.iter().product();
    let Some(gradient) = gradient else { return vec![0.0; count] };
    let values = gradient.into_host().unwrap().0;
    let is_table = name.contains("_embeddings.") || name.contains("relative_attention_bias");
    if shape.len() < 2 || is_table {
        return values;
    }
    stages::model::parameters::transposed(&values, shape[1..].iter().product(), shape[0])
}

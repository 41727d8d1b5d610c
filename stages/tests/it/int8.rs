//! `precision: int8`: the answers are near those in f32, and what is not finite is refused.

#![cfg(feature = "model")]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use safetensors::SafeTensors;
use stages::model::config::ModelConfig;
use stages::model::loading::{HeadSource, LoadOptions, load};
use stages::model::parameters::Network;
use stages::model::precision::Precision;

use crate::finetune::{Data, LABELS, rows};
use crate::harness::{Done, Run};
use crate::reference::{Expected, FAMILIES, copy_of, fixture, logits, options};

fn predict(model: PathBuf, precision: &str) -> Done {
    let data = Data::new();
    let run = Run::new("predict").input_path("model", model).device("cpu");
    let run = run.param("precision", precision);
    run.input_path("test", data.file("test", &rows(40), &LABELS)).run()
}

/// The probability of the first label for every row.
fn probabilities(done: &Done) -> Vec<f64> {
    let of = |row: &serde_json::Value| {
        let all = row["probabilities"].as_object().unwrap();
        all.values().next().unwrap().as_f64().unwrap()
    };
    done.rows("predictions").iter().map(of).collect()
}

#[test]
fn logits_of_every_family_are_near_those_in_f32() {
    for family in FAMILIES {
        let folder = fixture(family);
        let (config, device) = (ModelConfig::read(&folder).unwrap(), Device::flex());
        let expected = Expected::read(family);
        let batch = expected.batch("right");
        let [exact, rounded] = [Precision::F32, Precision::Int8].map(|precision| {
            let options = LoadOptions { precision, ..options(HeadSource::Checkpoint) };
            let mut model = load(&folder, &config, &options, &device).unwrap().model;
            // What is rounded is not kept in f32 too.
            let names: Vec<String> = model.parameters().into_iter().map(|it| it.0).collect();
            (logits(&model, &batch), names.iter().filter(|it| it.contains("weight")).count())
        });
        assert!(rounded.1 < exact.1, "{family}: {} weights in f32", rounded.1);
        assert_ne!(rounded.0, exact.0, "{family}");
        let largest = exact.0.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        for (rounded, exact) in rounded.0.iter().zip(&exact.0) {
            let error = (rounded - exact).abs();
            assert!(error < 0.05 * largest, "{family}: {rounded}, {exact} in f32");
        }
    }
}

#[test]
fn probabilities_of_predict_are_near_those_in_f32() {
    let of = |precision| probabilities(&predict(fixture("roberta-irony"), precision));
    let (exact, rounded) = (of("f32"), of("int8"));
    assert_ne!(exact, rounded);
    for (exact, rounded) in exact.iter().zip(&rounded) {
        assert!((exact - rounded).abs() < 0.01, "{rounded}, {exact} in f32");
    }
}

/// Writes the same value to every element of a tensor.
fn fill(model: &Path, tensor: &str, value: f32) {
    let path = model.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let values = {
        let file = SafeTensors::deserialize(&bytes).unwrap();
        file.tensor(tensor).unwrap().data().as_ptr_range()
    };
    let start = values.start as usize - bytes.as_ptr() as usize;
    let end = values.end as usize - bytes.as_ptr() as usize;
    for four in bytes[start..end].as_chunks_mut().0 {
        *four = value.to_le_bytes();
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_value_that_becomes_infinite_or_nan_gives_no_answer() {
    for (value, problem) in [(f32::MAX, "a logit is "), (f32::NAN, "is NaN")] {
        for activation in ["gelu", "relu"] {
            let copy = copy_of("roberta-irony");
            let path = copy.path().join("config.json");
            let config = std::fs::read_to_string(&path).unwrap();
            let config = config.replace("\"gelu\"", &format!("\"{activation}\""));
            assert!(config.contains(activation));
            std::fs::write(&path, config).unwrap();
            // Columns of one sign: the sums of the first layer's feed-forward network overflow.
            fill(copy.path(), "roberta.encoder.layer.0.attention.output.LayerNorm.bias", 1.0);
            fill(copy.path(), "roberta.encoder.layer.0.intermediate.dense.weight", value);
            let done = predict(copy.path().to_owned(), "int8");
            let error = done.error();
            assert!(error.contains(problem), "{activation}, {value}: {error}");
            assert!(done.written().is_empty());
        }
    }
}

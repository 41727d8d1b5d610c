//! What `predict`, `classify` and `serve` compute for a text does not depend, to the bit, on the texts
//! beside it.

#![cfg(feature = "model")]

use burn::tensor::Device;
use stages::model::batch::Batch;
use stages::model::classifier::Classifier;
use stages::model::config::ModelConfig;
use stages::model::loading::{HeadSource, LoadOptions, Weights, load};
use stages::model::precision::Precision;
use stages::train::class_outputs::ClassOutputs;
use stages::train::evaluation::{Rounding, batch_outputs};

use crate::reference::{FAMILIES, copy_of, options};

/// A model of this family with random weights, which takes longer sequences, and its padding token.
fn model(family: &str, changes: &[(&str, serde_json::Value)], classes: usize) -> (Classifier, u32) {
    model_in(Precision::F32, family, changes, classes)
}

fn model_in(
    precision: Precision,
    family: &str,
    changes: &[(&str, serde_json::Value)],
    classes: usize,
) -> (Classifier, u32) {
    let copy = copy_of(family);
    let path = copy.path().join("config.json");
    let mut raw: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    raw.insert("max_position_embeddings".to_owned(), 700.into());
    raw.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let config = ModelConfig::from_raw(raw, &path).unwrap();
    let weights = Weights::Random;
    let options = LoadOptions { weights, precision, classes, ..options(HeadSource::New) };
    let model = load(copy.path(), &config, &options, &Device::flex()).unwrap().model;
    (model, config.pad_token_id as u32)
}

/// Sequences of many lengths, also of one token, and of more than attention computes in one block.
fn sequences() -> Vec<Vec<i32>> {
    let lengths = [3, 1, 17, 601, 2, 16, 33, 5, 90, 18, 3, 40];
    let id = |row: usize, at: usize| 5 + ((row * 13 + at * 7) % 50) as i32;
    let of = |(row, length): (usize, &usize)| (0..*length).map(|at| id(row, at)).collect();
    lengths.iter().enumerate().map(of).collect()
}

fn outputs(model: &Classifier, rows: &[Vec<i32>], pad: u32, rounding: Rounding) -> ClassOutputs {
    let batch = Batch::new(rows.iter().map(|ids| (ids.as_slice(), None)), pad);
    batch_outputs(model, &batch, rounding, |row| row.to_string()).unwrap()
}

/// Checks the bits of all rows, and that they are no further than `tolerance` from the numbers
/// that the usual order of sums gives.
#[track_caller]
fn check(name: &str, model: &Classifier, pad: u32, classes: usize, tolerance: f32) {
    let rows = sequences();
    let bits = |of: &ClassOutputs| -> Vec<u32> {
        of.logits.iter().chain(&of.probabilities).map(|value| value.to_bits()).collect()
    };
    let alone: Vec<ClassOutputs> = rows
        .iter()
        .map(|row| outputs(model, std::slice::from_ref(row), pad, Rounding::OfRow))
        .collect();
    for range in [0..rows.len(), 0..3, 4..8, 7..12] {
        let together = outputs(model, &rows[range.clone()], pad, Rounding::OfRow);
        let each = together.logits.chunks(classes).zip(together.probabilities.chunks(classes));
        for (row, (logits, probabilities)) in range.clone().zip(each) {
            let (logits, probabilities) = (logits.to_vec(), probabilities.to_vec());
            let found = ClassOutputs { logits, probabilities };
            assert_eq!(bits(&found), bits(&alone[row]), "{name}: row {row} of {range:?}");
        }
    }
    // They are the same numbers as otherwise, up to rounding.
    let usual = outputs(model, &rows, pad, Rounding::OfBatch);
    let apart = outputs(model, &rows, pad, Rounding::OfRow);
    for (usual, apart) in usual.logits.iter().zip(&apart.logits) {
        assert!(
            (usual - apart).abs() < tolerance * usual.abs().max(1.0),
            "{name}: {usual} and {apart}"
        );
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch_of_any_family() {
    for family in FAMILIES {
        let (model, pad) = model(family, &[], 3);
        check(family, &model, pad, 3, 1e-4);
    }
    let mean = [("classifier_pooling", "mean".into())];
    let (mean, pad) = model("modernbert", &mean, 3);
    check("modernbert with the mean", &mean, pad, 3, 1e-4);
}

#[test]
fn so_it_is_with_one_output_and_with_wider_layers() {
    for classes in [1, 2, 70] {
        let (model, pad) = model("bert", &[], classes);
        check("bert", &model, pad, classes, 1e-4);
    }
    let wide = [("hidden_size", 768.into()), ("intermediate_size", 1100.into())];
    let (wide, pad) = model("roberta", &wide, 2);
    check("wide roberta", &wide, pad, 2, 1e-4);
}

#[test]
fn so_it_is_in_8_bits() {
    for family in FAMILIES {
        let (model, pad) = model_in(Precision::Int8, family, &[], 3);
        // Another last bit before a value is rounded may give the whole number beside it.
        check(family, &model, pad, 3, 1e-2);
    }
}

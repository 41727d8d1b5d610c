//! Several labels a text, and numbers, through training and `predict`: losses and gradients compared with those of
//! PyTorch, and what a model folder says to the stages that read it.

#![cfg(feature = "model")]

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use serde_json::{Value, json};
use stages::data::token_file::{Sequence, TokenFile, TokenInfo};
use stages::data::token_labels::Gold;
use stages::data::token_writer::TokenWriter;
use stages::model::config::ModelConfig;
use stages::model::loading::{HeadSource, load};
use stages::model::parameters::{Network, Parameter, leaf};
use stages::train::binary_loss::BinaryLoss;
use stages::train::step::gradients;
use stages::train::task_loss::{TaskBatch, TaskLoss};
use tempfile::TempDir;

use crate::harness::{Done, Run};
use crate::reference::{
    Expected, as_stored, assert_close, copy_of, device, device_name, fixture, options, whole_batch,
};

/// Compares loss and gradients of the tiny BERT with those in a file of `fixtures/make_tasks.py`.
fn expect_gradients(file: &str, loss: &TaskLoss, outputs: usize, targets: Vec<f32>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tasks").join(file);
    let expected = Expected::read_file(&path);
    let folder = fixture("bert");
    let config = ModelConfig::read(&folder).unwrap();
    let options = options(HeadSource::Classes(vec![0, 1]));
    let mut model = load(&folder, &config, &options, &device().autodiff()).unwrap().model;
    for (name, parameter) in model.parameters() {
        match parameter {
            Parameter::Weight(weight) if name == "classifier.weight" => {
                *weight = leaf(Tensor::from_inner(weight.clone().inner().narrow(1, 0, outputs)));
            }
            Parameter::Vector(bias) if name == "classifier.bias" => {
                *bias = leaf(Tensor::from_inner(bias.clone().inner().narrow(0, 0, outputs)));
            }
            _ => {}
        }
    }
    let mut micro = whole_batch(&Expected::read("bert"));
    micro.classes.clear();
    let part = TaskBatch { micro, targets };
    let (found, gradients) = gradients(&mut model, &[part], 1, loss, |_, _| None);
    let found = found.try_into_vec_as::<f32>().unwrap();
    assert_close("loss", &found, expected.floats("loss"), 1e-4);
    let names: Vec<String> = model.parameters().into_iter().map(|(name, _)| name).collect();
    for (name, gradient) in names.iter().zip(gradients) {
        let (shape, wanted) = &expected.0[&format!("grad.{name}")];
        let gradient = as_stored(name, shape, gradient);
        assert_close(&format!("gradient of {name}"), &gradient, wanted, 1e-3);
    }
}

#[test]
fn binary_cross_entropy_with_weights_has_the_gradients_of_pytorch() {
    let flags = vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0];
    let loss = TaskLoss::Multi(BinaryLoss { positive_weights: vec![0.5, 3.0] });
    expect_gradients("bert_multi.safetensors", &loss, 2, flags);
}

#[test]
fn the_squared_error_has_the_gradients_of_pytorch() {
    let numbers = vec![0.5, -1.0, 2.0, 0.0, 3.5, 1.0];
    expect_gradients("bert_number.safetensors", &TaskLoss::Regression, 1, numbers);
}

/// Writes a token file with a row for each label.
fn tokens(folder: &Path, name: &str, labels: &[&str], golds: &[Gold]) -> PathBuf {
    let mut writer = TokenWriter::new(folder).unwrap();
    for (row, gold) in golds.iter().enumerate() {
        let ids = vec![2, 5 + row as u32 % 20, 7 + row as u32 % 3, 3];
        let sequence = Sequence { types: vec![0; ids.len()], ids };
        writer.push(&sequence, gold.clone(), &format!("row {row}")).unwrap();
    }
    let path = folder.join(name);
    let label_names = labels.iter().map(|label| (*label).to_owned()).collect();
    let info = TokenInfo {
        label_names,
        pad_id: 0,
        vocab_size: 40,
        max_length: 16,
        stride: None,
        tokenizer: None,
    };
    writer.finish(&path, &info).unwrap();
    path
}

fn sets() -> Vec<Gold> {
    (0..12)
        .map(|row| Gold::Classes((0..3).filter(|label| row % (label + 2) == 0).collect()))
        .collect()
}

fn numbers() -> Vec<Gold> {
    (0..12).map(|row| Gold::Number(f64::from(row) / 4.0)).collect()
}

/// A fine-tuning of the tiny BERT on these labels, which are to validate with too.
fn finetune(folder: &TempDir, labels: &[&str], golds: &[Gold]) -> Run {
    let path = tokens(folder.path(), "tokens.safetensors", labels, golds);
    Run::new("finetune")
        .input_path("model", fixture("bert"))
        .input_path("train", path.clone())
        .input_path("valid", path)
        .param("epochs", 2)
        .param("batch_size", 4)
        .param("learning_rate", 0.01)
        .device(device_name())
}

fn predict(model: PathBuf, test: PathBuf) -> Run {
    Run::new("predict").input_path("model", model).input_path("test", test).device(device_name())
}

fn config(done: &Done) -> Value {
    let text = std::fs::read_to_string(done.path("model").join("config.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_model_of_several_labels_says_so_and_predict_gives_lists() {
    let folder = tempfile::tempdir().unwrap();
    let run = finetune(&folder, &["a", "b", "c"], &sets()).param("pos_weight", "balanced");
    let done = run.param("threshold", "f1").param("keep", "best").run();
    let config = config(&done);
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(config["id2label"], json!({"0": "a", "1": "b", "2": "c"}));
    let thresholds = config["decision_thresholds"].as_array().unwrap().clone();
    assert_eq!(thresholds.len(), 3);
    let line = done.rows("metrics")[1].clone();
    for name in ["valid_loss", "valid_accuracy", "valid_micro_f1", "valid_macro_f1"] {
        assert!(line[name].is_number(), "{line}");
    }
    let test = folder.path().join("tokens.safetensors");
    let model = done.path("model");
    let rows = predict(model.clone(), test.clone()).run().rows("predictions");
    for row in &rows {
        let likely: Vec<&str> = ["a", "b", "c"]
            .into_iter()
            .zip(&thresholds)
            .filter(|(label, it)| row["probabilities"][label].as_f64() > it.as_f64())
            .map(|(label, _)| label)
            .collect();
        assert_eq!(row["label"], json!(likely));
    }
    assert_eq!(rows[0]["gold"], json!(["a", "b", "c"]));
    assert_eq!(rows[1]["gold"], json!([]));
    let all = predict(model.clone(), test.clone()).param("threshold", 0.0).run();
    assert_eq!(all.text("answer").lines().next(), Some("row 0,a,b,c"));
    let error = predict(model, test).param("label_map", json!({"a": "b"})).run().error();
    assert!(error.contains("it gives two labels the name `b`"), "{error}");
}

#[test]
fn a_model_of_numbers_says_so_and_predict_gives_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let run = finetune(&folder, &[], &numbers()).param("keep", "best").param("metric", "rmse");
    let done = run.run();
    let config = config(&done);
    assert_eq!(config["problem_type"], "regression");
    assert_eq!(config["id2label"], json!({"0": "LABEL_0"}));
    let line = done.rows("metrics")[1].clone();
    assert!(line["valid_rmse"].is_number() && line["valid_spearman"].is_number(), "{line}");
    let test = folder.path().join("tokens.safetensors");
    let rows = predict(done.path("model"), test.clone()).run().rows("predictions");
    assert!(rows[0]["label"].is_f64() && rows[0]["probabilities"] == json!({}), "{}", rows[0]);
    assert_eq!(rows[3]["gold"], 0.75);
    // A config without `problem_type` and a head with one output is a regression for transformers too.
    let bare = copy_of("bert");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(done.path("model").join(file), bare.path().join(file)).unwrap();
    }
    let mut raw = config.clone();
    raw["problem_type"] = Value::Null;
    std::fs::write(bare.path().join("config.json"), raw.to_string()).unwrap();
    let again = predict(bare.path().to_owned(), test).run().rows("predictions");
    assert_eq!(again, rows);
}

#[test]
fn training_goes_on_from_a_head_of_the_same_task_only() {
    let folder = tempfile::tempdir().unwrap();
    let first = finetune(&folder, &["a", "b", "c"], &sets()).run();
    let path = folder.path().join("tokens.safetensors");
    let zero = |path: &Path| {
        let run = Run::new("finetune").input_path("model", first.path("model"));
        run.input_path("train", path.to_owned()).param("epochs", 0).device(device_name()).run()
    };
    assert!(zero(&path).result.is_ok());
    let single: Vec<Gold> = (0..6).map(|row| Gold::Class(row % 3)).collect();
    let other = tokens(folder.path(), "single.safetensors", &["a", "b", "c"], &single);
    let error = zero(&other).error();
    assert!(
        error.ends_with(
            "the checkpoint's head gives a list of labels, and each row of the data has one label"
        ),
        "{error}"
    );
    let error = predict(first.path("model"), other).run().error();
    assert!(
        error.ends_with("each row has one label, but the model gives a list of labels"),
        "{error}"
    );
}

#[test]
fn parameters_of_another_task_are_refused_once_the_labels_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let single: Vec<Gold> = (0..6).map(|row| Gold::Class(row % 2)).collect();
    for (labels, golds, name, value) in [
        (&["a", "b", "c"][..], sets(), "label_smoothing", json!(0.1)),
        (&["a", "b", "c"], sets(), "r_drop", json!(1.0)),
        (&["a", "b", "c"], sets(), "class_weights", json!("balanced")),
        (&["a", "b", "c"], sets(), "positive", json!("a")),
        (&["a", "b", "c"], sets(), "pos_weight", json!([1.0])),
        (&[], numbers(), "threshold", json!("f1")),
        (&[], numbers(), "pos_weight", json!("balanced")),
        (&["a", "b"], single, "pos_weight", json!("balanced")),
    ] {
        let error = finetune(&folder, labels, &golds).param(name, value).run().error();
        assert!(error.starts_with(&format!("parameter `{name}`: ")), "{error}");
    }
    let error = finetune(&folder, &[], &numbers()).param("keep", "best").run().error();
    assert!(error.starts_with("parameter `metric`: each row has a number"), "{error}");
}

#[test]
fn a_token_file_keeps_lists_numbers_and_what_is_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let golds = [Gold::None, Gold::Classes(vec![0, 2]), Gold::None, Gold::Classes(vec![])];
    let open = |path: PathBuf| TokenFile::open(&path).unwrap();
    let file = open(tokens(folder.path(), "m", &["a", "b", "c"], &golds));
    let found: Vec<Gold> = (0..4).map(|row| file.gold(row)).collect();
    assert_eq!(found, golds);
    assert_eq!(serde_json::to_value(file.target(1)).unwrap(), json!(["a", "c"]));
    let golds = [Gold::None, Gold::Number(-1.25), Gold::None];
    let file = open(tokens(folder.path(), "n", &[], &golds));
    let found: Vec<Gold> = (0..3).map(|row| file.gold(row)).collect();
    assert_eq!(found, golds);
}

/// The fine-tuning with some of its parameters, and what `predict` finds with its model.
fn decided(run: Run, test: &Path, params: &[(&str, Value)]) -> (Done, Vec<Value>) {
    let run = params.iter().fold(run, |run, (name, value)| run.param(name, value.clone()));
    let done = run.run();
    let rows = predict(done.path("model"), test.to_owned()).run().rows("predictions");
    (done, rows)
}

/// The labels that rows get.
fn labels_of(rows: &[Value]) -> Vec<&Value> {
    rows.iter().map(|row| &row["label"]).collect()
}

/// A number that a fine-tuning reported at its end.
fn figure(done: &Done, name: &str) -> f64 {
    done.events.iter().find_map(|event| event["values"][name].as_f64()).unwrap()
}

fn odds(row: &Value, label: &str) -> f64 {
    let p = row["probabilities"][label].as_f64().unwrap();
    (p / (1.0 - p)).ln()
}

#[test]
fn a_head_that_applies_its_threshold_decides_as_the_threshold_does() {
    let folder = tempfile::tempdir().unwrap();
    let golds: Vec<Gold> = (0..12).map(|row| Gold::Class(usize::from(row % 5 < 2))).collect();
    let test = folder.path().join("tokens.safetensors");
    let of = |params: &[(&str, Value)]| {
        let run = finetune(&folder, &["no", "yes"], &golds).param("learning_rate", 0.001);
        decided(run, &test, params)
    };
    let (plain, apart) = of(&[("threshold", json!("f1"))]);
    let (done, folded) = of(&[("threshold", json!("f1")), ("fold", json!(true))]);
    let threshold = config(&plain)["decision_threshold"].as_f64().unwrap();
    assert!((threshold - 0.5).abs() > 0.01, "{threshold} tests nothing");
    assert!(config(&done).get("decision_threshold").is_none());
    assert_eq!(labels_of(&folded), labels_of(&apart));
    let shift = (threshold / (1.0 - threshold)).ln();
    for (row, folded) in apart.iter().zip(&folded) {
        assert!((odds(row, "yes") - shift - odds(folded, "yes")).abs() < 1e-4, "{row} {folded}");
        let likelier = if odds(folded, "yes") > 0.0 { "yes" } else { "no" };
        assert_eq!(folded["label"], likelier);
    }
}

#[test]
fn a_head_that_applies_its_thresholds_gives_the_same_lists_at_a_half() {
    let folder = tempfile::tempdir().unwrap();
    let test = folder.path().join("tokens.safetensors");
    let of = |params: &[(&str, Value)]| {
        decided(finetune(&folder, &["a", "b", "c"], &sets()), &test, params)
    };
    let (plain, apart) = of(&[("threshold", json!("f1"))]);
    let (done, folded) = of(&[("threshold", json!("f1")), ("fold", json!(true))]);
    let thresholds = config(&plain)["decision_thresholds"].clone();
    assert_ne!(thresholds, json!([0.5, 0.5, 0.5]), "tests nothing");
    assert!(config(&done).get("decision_thresholds").is_none());
    assert_eq!(labels_of(&folded), labels_of(&apart));
}

#[test]
fn a_calibrated_model_has_its_logits_divided_by_the_temperature() {
    let folder = tempfile::tempdir().unwrap();
    let test = folder.path().join("tokens.safetensors");
    let golds: Vec<Gold> = (0..12).map(|row| Gold::Class(usize::from(row % 5 < 2))).collect();
    let of = |params: &[(&str, Value)]| {
        decided(finetune(&folder, &["no", "yes"], &golds), &test, params)
    };
    let (_, plain) = of(&[]);
    let (done, calibrated) = of(&[("calibrate", json!("temperature"))]);
    let temperature = figure(&done, "temperature");
    assert!((temperature - 1.0).abs() > 0.01, "{temperature} tests nothing");
    for (row, calibrated) in plain.iter().zip(&calibrated) {
        assert!((odds(row, "yes") / temperature - odds(calibrated, "yes")).abs() < 1e-4);
    }
    assert_eq!(labels_of(&plain), labels_of(&calibrated));
}

#[test]
fn calibrating_a_model_moves_the_thresholds_it_has_and_keeps_its_decisions() {
    let folder = tempfile::tempdir().unwrap();
    let test = folder.path().join("tokens.safetensors");
    let classes: Vec<Gold> = (0..12).map(|row| Gold::Class(usize::from(row % 5 < 2))).collect();
    let kinds: [(&[&str], Vec<Gold>, &str); 2] = [
        (&["no", "yes"], classes, "decision_threshold"),
        (&["a", "b", "c"], sets(), "decision_thresholds"),
    ];
    for (labels, golds, key) in kinds {
        let run = finetune(&folder, labels, &golds);
        let (trained, before) = decided(run, &test, &[("threshold", json!("f1"))]);
        let again = finetune(&folder, labels, &golds).input_path("model", trained.path("model"));
        let again = again.param("epochs", 0);
        let (done, after) = decided(again, &test, &[("calibrate", json!("temperature"))]);
        let temperature = figure(&done, "temperature");
        assert!((temperature - 1.0).abs() > 0.01, "{temperature} tests nothing");
        let odds = |done: &Done| -> Vec<f64> {
            let value = config(done)[key].clone();
            let each = value.as_array().cloned().unwrap_or_else(|| vec![value]);
            let odds = |it: &Value| it.as_f64().map(|it| (it / (1.0 - it)).ln()).unwrap();
            each.iter().map(odds).collect()
        };
        let (own, moved) = (odds(&trained), odds(&done));
        assert!(own.iter().any(|odds| odds.abs() > 0.05), "{own:?} test nothing");
        assert_eq!(own.len(), moved.len());
        for (own, moved) in own.iter().zip(&moved) {
            assert!((own / temperature - moved).abs() < 1e-9, "{own} {moved}");
        }
        assert_eq!(labels_of(&before), labels_of(&after));
    }
}

#[test]
fn a_model_of_numbers_is_neither_calibrated_nor_folded() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [("calibrate", json!("temperature")), ("fold", json!(true))] {
        let error = finetune(&folder, &[], &numbers()).param(name, value).run().error();
        assert!(error.contains(&format!("`{name}`")), "{error}");
    }
}

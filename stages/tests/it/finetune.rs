//! `finetune` and `predict` as the engine runs them, on tiny models.

#![cfg(feature = "model")]

use std::path::{Path, PathBuf};

use stages::data::token_file::Sequence;
use stages::data::token_file::TokenInfo;
use stages::data::token_writer::TokenWriter;
use tempfile::TempDir;

use crate::harness::{Done, Run};

pub const LABELS: [&str; 2] = ["NOT_SARCASM", "SARCASM"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/model").join(name)
}

/// A folder of token files.
pub struct Data(TempDir);

impl Data {
    pub fn new() -> Data {
        Data(tempfile::tempdir().unwrap())
    }

    /// Writes rows of token ids with their classes. Row `n` has the id `row_n`.
    pub fn file(&self, name: &str, rows: &[(Vec<u32>, Option<usize>)], labels: &[&str]) -> PathBuf {
        let mut writer = TokenWriter::new(self.0.path()).unwrap();
        for (index, (ids, label)) in rows.iter().enumerate() {
            let sequence = Sequence { ids: ids.clone(), types: vec![0; ids.len()] };
            writer.push(&sequence, *label, &format!("row_{index}")).unwrap();
        }
        let info = TokenInfo {
            label_names: labels.iter().map(|label| (*label).to_owned()).collect(),
            pad_id: 1,
            vocab_size: 60,
            max_length: 18,
            stride: None,
            tokenizer: None,
        };
        let path = self.0.path().join(name);
        writer.finish(&path, &info).unwrap();
        path
    }
}

/// Sequences that a model can learn to classify: class 1 contains the token 50, class 0 the token
/// 51.
pub fn rows(count: usize) -> Vec<(Vec<u32>, Option<usize>)> {
    let row = |index: usize| {
        let class = index % 2;
        let mut ids: Vec<u32> =
            (0..3 + index % 7).map(|at| (3 + (index * 5 + at * 3) % 40) as u32).collect();
        ids.insert(index % 3, if class == 1 { 50 } else { 51 });
        ids.insert(0, 0);
        ids.push(2);
        (ids, Some(class))
    };
    (0..count).map(row).collect()
}

pub fn finetune(data: &Data) -> Run {
    Run::new("finetune")
        .input_path("model", fixture("roberta"))
        .input_path("train", data.file("train", &rows(64), &LABELS))
        .input_path("valid", data.file("valid", &rows(16), &LABELS))
        .param("learning_rate", 5e-3)
        .param("epochs", 4)
        .param("batch_size", 8)
}

pub fn column(done: &Done, name: &str) -> Vec<f64> {
    done.rows("metrics").iter().map(|row| row[name].as_f64().unwrap()).collect()
}

#[test]
fn a_model_learns_and_every_epoch_is_measured() {
    let done = finetune(&Data::new()).run();
    let rows = done.rows("metrics");
    assert_eq!(rows.len(), 4);
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row["epoch"], index + 1);
        assert_eq!(row["steps"], 8 * (index + 1));
        for name in ["train_loss", "valid_loss", "valid_precision", "valid_recall", "valid_f1"] {
            assert!(row[name].is_f64(), "{name} of {row}");
        }
        assert!(row.get("train_seconds").is_none(), "artifacts hold no times");
    }
    assert_eq!(column(&done, "valid_accuracy")[3], 1.0);
    let timed = done.events.iter().filter(|event| event["values"]["train_seconds"].is_f64());
    assert_eq!(timed.count(), 4, "events hold the times");
}

#[test]
fn equal_runs_give_equal_bytes_and_another_seed_gives_others() {
    let weights = |seed: i64| {
        let done = finetune(&Data::new()).param("seed", seed).param("epochs", 1).run();
        done.bytes("model/model.safetensors")
    };
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
}

#[test]
fn the_best_epoch_is_kept_if_asked_for() {
    // At this rate the last epoch is not the best one.
    let run = |keep: &str| {
        let data = Data::new();
        let run = finetune(&data).param("learning_rate", 0.05).param("epochs", 5);
        run.param("keep", keep).param("metric", "loss").param("schedule", "constant").run()
    };
    let (best, last) = (run("best"), run("last"));
    let losses = column(&best, "valid_loss");
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert!(lowest < losses[4], "no earlier epoch is better: {losses:?}");
    assert_eq!(losses, column(&last, "valid_loss"));
    let loss_of = |done: &Done| {
        let data = Data::new();
        let valid = data.file("valid", &rows(16), &LABELS);
        let run = Run::new("predict").input_path("model", done.path("model"));
        let predictions = run.input_path("valid", valid).run().rows("valid");
        let loss = |row: &serde_json::Value| {
            -row["probabilities"][row["gold"].as_str().unwrap()].as_f64().unwrap().ln()
        };
        predictions.iter().map(loss).sum::<f64>() / predictions.len() as f64
    };
    assert!((loss_of(&best) - lowest).abs() < 1e-5);
    assert!((loss_of(&last) - losses[4]).abs() < 1e-5);
}

#[test]
fn the_size_of_micro_batches_changes_no_mask_and_hardly_any_loss() {
    let losses = |micro: serde_json::Value| {
        column(&finetune(&Data::new()).param("micro_batch", micro).run(), "train_loss")
    };
    for (whole, parts) in losses("auto".into()).iter().zip(losses(3.into())) {
        assert!((whole - parts).abs() < 1e-3, "{whole} and {parts}");
    }
}

#[test]
fn the_loss_of_each_of_ten_steps_is_that_of_the_unsplit_batch() {
    // An epoch is a single batch, so the loss of an epoch is the loss of a step.
    let losses = |micro: serde_json::Value| {
        let data = Data::new();
        let run = finetune(&data).param("micro_batch", micro).param("batch_size", 64);
        let run = run.param("epochs", 10).param("learning_rate", 1e-3);
        let run = run.param("dropout", 0.0).param("attention_dropout", 0.0);
        column(&run.param("classifier_dropout", 0.0).run(), "train_loss")
    };
    let whole = losses(64.into());
    assert_eq!(whole.len(), 10);
    assert!(whole[9] < whole[0] - 0.01, "the model did not learn: {whole:?}");
    for micro in [1, 3, 20] {
        for (whole, parts) in whole.iter().zip(losses(micro.into())) {
            assert!(
                (whole - parts).abs() < 1e-5,
                "{whole} and {parts} in micro-batches of {micro}"
            );
        }
    }
}

/// A copy of a model in which the last values of the file are these.
fn with_last_values(data: &Data, name: &str, values: &[f32]) -> PathBuf {
    let model = data.0.path().join("model");
    std::fs::create_dir_all(&model).unwrap();
    std::fs::copy(fixture(name).join("config.json"), model.join("config.json")).unwrap();
    let mut weights = std::fs::read(fixture(name).join("model.safetensors")).unwrap();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let end = weights.len();
    weights[end - bytes.len()..].copy_from_slice(&bytes);
    std::fs::write(model.join("model.safetensors"), weights).unwrap();
    model
}

#[test]
fn a_checkpoint_with_a_value_that_is_not_finite_is_refused_by_the_name_of_the_tensor() {
    let data = Data::new();
    let valid = data.file("valid", &rows(16), &LABELS);
    for (wrong, word) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let model = with_last_values(&data, "roberta-irony", &[wrong]);
        let expected = format!(" is {word}: the file is damaged, or the training that wrote it");
        let trained = finetune(&data).input_path("model", model.clone()).run();
        let predicted = Run::new("predict").input_path("model", model);
        for done in [trained, predicted.input_path("valid", valid.clone()).run()] {
            let error = done.error();
            assert!(error.contains(&expected) && error.contains("of tensor `roberta."), "{error}");
            assert!(done.written().is_empty());
        }
    }
}

#[test]
fn an_update_to_a_value_that_is_not_finite_ends_the_training_at_its_step() {
    // The gradient of a position that no example reaches is 0, and 0 / 0 is NaN. No loss depends
    // on such a position, and there is no further step that could notice.
    let data = Data::new();
    let run = finetune(&data).param("adam_epsilon", 0.0).param("batch_size", 1000);
    let done = run.param("epochs", 1).run();
    let error = done.error();
    assert!(error.starts_with("training diverged at step 1: a value of `roberta."), "{error}");
    assert!(error.ends_with("` after the update is NaN"), "{error}");
    assert!(done.result.as_ref().unwrap_err().hint().unwrap().contains("`adam_epsilon`"));
    assert!(done.written().is_empty());
}

#[test]
fn an_overflow_in_the_network_ends_in_an_error_that_names_the_example() {
    let data = Data::new();
    let model = with_last_values(&data, "roberta-irony", &[3e38; 4000]);
    let valid = data.file("valid", &rows(16), &LABELS);
    let run = Run::new("predict").input_path("model", model.clone());
    let done = run.input_path("valid", valid).run();
    assert!(done.error().starts_with("classifying example `row_"), "{}", done.error());
    assert!(done.error().contains("a logit is "), "{}", done.error());
    assert!(done.written().is_empty());
    let done = finetune(&data).input_path("model", model).run();
    assert_eq!(done.error(), "training diverged at step 1: the loss is NaN");
    let hint = done.result.as_ref().unwrap_err().hint().unwrap();
    assert!(hint.contains("`learning_rate`") && hint.contains("`warmup_ratio`"), "{hint}");
    assert!(done.written().is_empty());
}

#[test]
fn unfit_training_files_are_refused_with_the_reason() {
    let data = Data::new();
    let mut unlabelled = rows(4);
    unlabelled[2].1 = None;
    let mut long = rows(4);
    long[0].0 = vec![5; 19];
    for (rows, labels, reason) in [
        (vec![], &LABELS[..], "no training examples"),
        (unlabelled, &LABELS[..], "example `row_2` has no label"),
        (rows(4), &["ONE", "TWO", "THREE"][..1], "two labels or more"),
        (long, &LABELS[..], "19 tokens is beyond the model's 18"),
    ] {
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(ids, label): (Vec<u32>, Option<usize>)| {
                (ids, label.map(|it| it.min(labels.len() - 1)))
            })
            .collect();
        let train = data.file("train", &rows, labels);
        let run = Run::new("finetune").input_path("model", fixture("roberta"));
        let error = run.input_path("train", train).run().error();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn without_validation_examples_there_is_no_evaluation_and_nothing_to_choose_by() {
    let data = Data::new();
    let run = || finetune(&data).input_path("valid", data.file("none", &[], &LABELS));
    let done = run().param("epochs", 1).run();
    assert_eq!(done.rows("metrics")[0].get("valid_loss"), None);
    assert_eq!(done.warnings(), ["there are no validation examples, so no epoch is evaluated"]);
    for (name, value) in [
        ("keep", "best".into()),
        ("threshold", "f1".into()),
        ("patience", 1.into()),
        ("calibrate", "temperature".into()),
    ] {
        let done = run().param(name, serde_json::Value::clone(&value)).run();
        let expected = format!("there are no validation examples, and `{name}` needs some");
        assert!(done.error().contains(&expected), "{}", done.error());
        assert!(done.written().is_empty());
    }
}

#[test]
fn more_than_two_classes_are_trained_and_predicted() {
    let data = Data::new();
    let labels = ["angry", "happy", "sad"];
    let three: Vec<_> = (0..60)
        .map(|index| {
            let marker = 50 + (index % 3) as u32;
            (vec![0, 5 + (index % 9) as u32, marker, 2], Some(index % 3))
        })
        .collect();
    let train = data.file("train", &three, &labels);
    let done = Run::new("finetune")
        .input_path("model", fixture("bert-headless"))
        .input_path("train", train.clone())
        .param("learning_rate", 5e-3)
        .param("epochs", 6)
        .param("batch_size", 6)
        .run();
    let run = Run::new("predict").input_path("model", done.path("model"));
    let rows = run.input_path("test", train).run().rows("predictions");
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row["label"], labels[index % 3], "{row}");
        let probabilities = row["probabilities"].as_object().unwrap();
        let sum: f64 = probabilities.values().filter_map(|value| value.as_f64()).sum();
        assert!((sum - 1.0).abs() < 1e-5);
    }
}

#[test]
fn answers_come_in_the_order_of_the_test_file() {
    let data = Data::new();
    let done = Run::new("predict")
        .input_path("model", fixture("roberta-irony"))
        .input_path("test", data.file("test", &rows(70), &LABELS))
        .param("batch_size", 8)
        .run();
    let ids: Vec<String> = done
        .text("answer")
        .lines()
        .map(|line| line.split(',').next().unwrap().to_owned())
        .collect();
    assert_eq!(ids, (0..70).map(|index| format!("row_{index}")).collect::<Vec<_>>());
}

#[test]
fn the_head_of_a_checkpoint_predicts_mapped_labels() {
    let data = Data::new();
    let run = || {
        let run = Run::new("predict").input_path("model", fixture("roberta-irony"));
        run.input_path("test", data.file("test", &rows(6), &LABELS))
    };
    let own = run().run().rows("predictions");
    let map = serde_json::json!({"irony": "SARCASM", "non_irony": "NOT_SARCASM"});
    let mapped = run().param("label_map", map).run().rows("predictions");
    for (own, mapped) in own.iter().zip(&mapped) {
        assert_eq!(own["label"] == "irony", mapped["label"] == "SARCASM");
        assert_eq!(own["probabilities"]["irony"], mapped["probabilities"]["SARCASM"]);
        assert!(LABELS.contains(&mapped["gold"].as_str().unwrap()));
    }
    let error = run().param("label_map", serde_json::json!({"ironic": "SARCASM"})).run().error();
    assert!(error.contains("`ironic`") && error.contains("non_irony, irony"), "{error}");
}

#[test]
fn with_0_epochs_a_checkpoint_stays_unchanged_and_keeps_its_head() {
    let data = Data::new();
    let untrained = |model: &str| {
        let run = finetune(&data).input_path("model", fixture(model));
        run.param("epochs", 0)
    };
    let map = serde_json::json!({"irony": "SARCASM", "non_irony": "NOT_SARCASM"});
    let done = untrained("roberta-irony").param("label_map", map).run();
    assert_eq!(done.text("metrics"), "");
    let probabilities = |model: PathBuf, label: &str| -> Vec<f64> {
        let run = Run::new("predict").input_path("model", model);
        let run = run.input_path("test", data.file("test", &rows(6), &LABELS));
        let rows = run.run().rows("predictions");
        rows.iter().map(|row| row["probabilities"][label].as_f64().unwrap()).collect()
    };
    // The labels are those of the data, in the same order.
    let taken = probabilities(done.path("model"), "SARCASM");
    assert_eq!(taken, probabilities(fixture("roberta-irony"), "irony"));
    let error = untrained("bert-headless").run().error();
    assert!(error.contains("`epochs`") && error.contains("classifier.weight"), "{error}");
}

#[test]
fn a_model_without_a_head_cannot_predict() {
    let data = Data::new();
    let run = Run::new("predict").input_path("model", fixture("bert-headless"));
    let error = run.input_path("test", data.file("test", &rows(3), &LABELS)).run().error();
    assert!(error.contains("`classifier.weight` is missing"), "{error}");
}

//! `finetune` with the optional parts of its recipe: early stopping, thresholds, pooling, frozen
//! layers, class weights; and the combinations that it refuses.

#![cfg(feature = "model")]

use serde_json::Value;

use crate::finetune::{Data, LABELS, column, finetune, rows};
use crate::harness::{Done, Run};

#[test]
fn training_ends_after_some_epochs_without_a_better_one() {
    let run = |patience: i64| {
        let data = Data::new();
        let run = finetune(&data).param("learning_rate", 0.05).param("schedule", "constant");
        run.param("epochs", 12).param("metric", "loss").param("patience", patience).run()
    };
    let done = run(2);
    let losses = column(&done, "valid_loss");
    let best = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
    assert_eq!(losses.len(), best + 3, "two epochs after the best one: {losses:?}");
    assert!(losses.len() < 12);
    let note = done.events.iter().filter_map(|event| event["message"].as_str());
    let ended = format!("ended after epoch {}: no better one in 2", losses.len());
    assert!(note.into_iter().any(|note| note == ended));
    assert_eq!(column(&run(1), "valid_loss"), losses[..column(&run(1), "valid_loss").len()]);
}

fn config(done: &Done) -> serde_json::Value {
    serde_json::from_slice(&done.bytes("model/config.json")).unwrap()
}

/// Predictions for noisy examples, with this threshold.
fn predictions(data: &Data, model: &Done, threshold: serde_json::Value) -> Vec<serde_json::Value> {
    let run = Run::new("predict").input_path("model", model.path("model"));
    let run = run.input_path("valid", data.file("again", &noisy(40), &LABELS));
    run.param("threshold", threshold).run().rows("valid")
}

/// Rows, every fifth with the wrong class.
fn noisy(count: usize) -> Vec<(Vec<u32>, Option<usize>)> {
    let mut rows = rows(count);
    for row in rows.iter_mut().step_by(5) {
        row.1 = row.1.map(|class| 1 - class);
    }
    rows
}

#[test]
fn a_threshold_chosen_on_validation_examples_goes_with_the_model() {
    let data = Data::new();
    let valid = data.file("noisy", &noisy(40), &LABELS);
    let run = finetune(&data).input_path("valid", valid).param("epochs", 1);
    let done = run.param("learning_rate", 1e-4).param("threshold", "f1").run();
    let threshold = config(&done)["decision_threshold"].as_f64().unwrap();
    let f1 = |rows: &[serde_json::Value]| {
        let count = |guess: &str, gold: &str| {
            rows.iter().filter(|row| row["label"] == guess && row["gold"] == gold).count() as f64
        };
        let hits = count(LABELS[1], LABELS[1]);
        2.0 * hits / (2.0 * hits + count(LABELS[1], LABELS[0]) + count(LABELS[0], LABELS[1]))
    };
    let own = predictions(&data, &done, "auto".into());
    for row in &own {
        let positive = row["probabilities"][LABELS[1]].as_f64().unwrap() > threshold;
        assert_eq!(row["label"], LABELS[usize::from(positive)]);
    }
    let likelier = predictions(&data, &done, "none".into());
    assert!(f1(&own) > f1(&likelier), "{} against {}", f1(&own), f1(&likelier));
    let all = predictions(&data, &done, 0.0.into());
    assert!(all.iter().all(|row| row["label"] == LABELS[1]));
    let metrics = done.events.iter().filter_map(|event| event["values"].get("decision_threshold"));
    assert_eq!(metrics.filter_map(serde_json::Value::as_f64).collect::<Vec<_>>(), [threshold]);
}

#[test]
fn a_threshold_is_for_two_labels() {
    let data = Data::new();
    let three = ["a", "b", "c"];
    let mut rows = rows(9);
    rows.iter_mut().enumerate().for_each(|(index, row)| row.1 = Some(index % 3));
    let file = data.file("three", &rows, &three);
    let run = finetune(&data).input_path("train", file.clone()).input_path("valid", file);
    let error = run.param("threshold", "f1").run().error();
    assert!(error.contains("`threshold`") && error.contains("a, b, c"), "{error}");
}

#[test]
fn mean_pooling_is_kept_in_the_config_and_used_by_predict() {
    let data = Data::new();
    let run = |pooling: &str| finetune(&data).param("epochs", 1).param("pooling", pooling).run();
    let (mean, first) = (run("mean"), run("first"));
    assert_eq!(config(&mean)["pooling"], "mean");
    assert!(config(&first).get("pooling").is_none(), "the default pooling is not in the config");
    assert_ne!(column(&mean, "valid_loss"), column(&first, "valid_loss"));
    let loss = |done: &Done| {
        let run = Run::new("predict").input_path("model", done.path("model"));
        let valid = data.file("again", &rows(16), &LABELS);
        let rows = run.input_path("valid", valid).run().rows("valid");
        let of = |row: &serde_json::Value| {
            -row["probabilities"][row["gold"].as_str().unwrap()].as_f64().unwrap().ln()
        };
        rows.iter().map(of).sum::<f64>() / rows.len() as f64
    };
    assert!((loss(&mean) - column(&mean, "valid_loss")[0]).abs() < 1e-5);
    // Further training keeps the pooling.
    let again = finetune(&data).input_path("model", mean.path("model")).param("epochs", 1).run();
    assert_eq!(config(&again)["pooling"], "mean");
}

#[test]
fn a_head_over_states_computed_once_learns_what_it_learns_over_a_frozen_encoder() {
    let data = Data::new();
    let run = |freeze: serde_json::Value, dropout: f64| {
        let run = finetune(&data).param("epochs", 3).param("freeze", freeze);
        run.param("dropout", dropout).param("attention_dropout", dropout).run()
    };
    let slow = run(2.into(), 0.0);
    // The dropout of the encoder makes no difference to what is computed once.
    for fast in [run("all".into(), 0.0), run("all".into(), 0.5)] {
        for name in ["train_loss", "valid_loss"] {
            for (slow, fast) in column(&slow, name).iter().zip(column(&fast, name)) {
                assert!((slow - fast).abs() < 1e-4, "{name}: {slow} and {fast}");
            }
        }
        assert!(column(&fast, "train_loss")[2] < column(&fast, "train_loss")[0]);
    }
}

#[test]
fn balanced_classes_have_equal_weights() {
    let losses = |weights: serde_json::Value| {
        let data = Data::new();
        column(&finetune(&data).param("class_weights", weights).run(), "train_loss")
    };
    // Both classes have the same number of rows, so `balanced` equals `none`.
    assert_eq!(losses("balanced".into()), losses("none".into()));
    assert_ne!(losses(serde_json::json!([1.0, 3.0])), losses("none".into()));
}

#[test]
fn a_recipe_that_does_not_fit_is_refused() {
    let data = Data::new();
    for (name, value, reason) in [
        ("freeze", serde_json::json!(9), "9 layers cannot be frozen, the model has 2"),
        ("class_weights", serde_json::json!([1.0]), "a weight for each of the 2 labels"),
        ("class_weights", serde_json::json!([0.0, 0.0]), "not all may be 0"),
    ] {
        let error = finetune(&data).param(name, value).run().error();
        assert!(error.contains(&format!("`{name}`")) && error.contains(reason), "{error}");
    }
    let blind = || {
        let run = Run::new("finetune").input_path("model", data.file("m", &rows(2), &LABELS));
        run.input_path("train", data.file("t", &rows(2), &LABELS))
    };
    for (name, value) in [
        ("keep", serde_json::json!("best")),
        ("patience", serde_json::json!(1)),
        ("threshold", serde_json::json!("accuracy")),
    ] {
        let error = blind().param(name, value).check().unwrap_err();
        assert!(error.contains(&format!("`{name}` needs the input `valid`")), "{error}");
    }
    let error = blind().param("schedule_epochs", 3).param("epochs", 4).check().unwrap_err();
    assert!(error.contains("learning rate of 0 before epoch 4"), "{error}");
}

#[test]
fn with_schedule_epochs_a_shorter_run_equals_the_beginning_of_a_longer_one() {
    let data = Data::new();
    let losses = |epochs: i64, schedule: Option<i64>| {
        let run = finetune(&data).param("epochs", epochs);
        let run = match schedule {
            Some(length) => run.param("schedule_epochs", length),
            None => run,
        };
        column(&run.run(), "train_loss")
    };
    assert_eq!(losses(2, Some(4)), losses(4, Some(4))[..2]);
    assert_eq!(losses(4, None), losses(4, Some(4)));
    assert_ne!(losses(2, None), losses(4, None)[..2]);
}

/// The metrics that `score` gives for the validation examples, predicted with this model.
fn scored(data: &Data, model: &Done, rows: &[(Vec<u32>, Option<usize>)], labels: &[&str]) -> Value {
    let run = Run::new("predict").input_path("model", model.path("model"));
    let predicted = run.input_path("valid", data.file("scored", rows, labels)).run();
    let done = Run::new("score").input("valid", predicted.text("valid")).run();
    let event = done.events.into_iter().find(|event| event["event"] == "metrics").unwrap();
    event["values"].clone()
}

#[test]
fn training_and_score_mean_the_same_by_f1_whatever_the_order_and_number_of_labels() {
    let three = |mut rows: Vec<(Vec<u32>, Option<usize>)>| {
        rows.iter_mut().step_by(7).for_each(|row| row.1 = Some(2));
        rows
    };
    let cases: [(&[&str], Vec<_>, &str); 4] = [
        (&["NOT_SARCASM", "SARCASM"], noisy(40), "f1"),
        (&["SARCASM", "NOT_SARCASM"], noisy(40), "f1"),
        (&["b", "c", "a"], three(noisy(40)), "macro_f1"),
        // No example has the third label, and none may be predicted to have it.
        (&["b", "c", "a"], noisy(40), "macro_f1"),
    ];
    for (labels, rows, headline) in cases {
        let data = Data::new();
        let run = finetune(&data).input_path("train", data.file("own_train", &rows, labels));
        let run = run.input_path("valid", data.file("own_valid", &rows, labels)).param("epochs", 1);
        let done = run.param("learning_rate", 1e-3).run();
        let own = done.rows("metrics")[0].clone();
        let scored = scored(&data, &done, &rows, labels);
        for figure in ["precision", "recall", "f1"] {
            let name = format!("valid_{}", headline.replace("f1", figure));
            assert!(own[&name].is_f64(), "{name} of {own}");
            assert_eq!(own[&name], scored[&name], "{name} of {labels:?}");
        }
        assert!(own["valid_accuracy"].as_f64().unwrap() > 0.0);
        assert_eq!(own.as_object().unwrap().len(), 9, "{own}");
    }
}

#[test]
fn the_positive_label_can_be_named_and_its_f1_chooses_the_threshold() {
    let labels = ["SARCASM", "NOT_SARCASM"];
    let f1 = |positive: &str, threshold: &str| {
        let data = Data::new();
        let run = finetune(&data).input_path("train", data.file("own_train", &rows(40), &labels));
        let run = run.input_path("valid", data.file("own_valid", &noisy(40), &labels));
        let run = run.param("epochs", 1).param("learning_rate", 1e-4).param("positive", positive);
        let done = run.param("threshold", threshold).run();
        let predict = Run::new("predict").input_path("model", done.path("model"));
        let predict = predict.input_path("valid", data.file("scored", &noisy(40), &labels)).run();
        let score = Run::new("score").input("valid", predict.text("valid"));
        let score = score.param("positive", positive).run();
        let found = score.json("scores")["valid"]["positive"]["f1"].as_f64().unwrap();
        if threshold == "none" {
            assert_eq!(column(&done, "valid_f1"), [found], "{positive}");
        }
        found
    };
    for label in labels {
        assert!(f1(label, "f1") > f1(label, "none"), "{label}");
    }
}

#[test]
fn a_label_that_cannot_be_positive_is_refused_and_one_without_examples_is_warned_of() {
    let data = Data::new();
    let run = || finetune(&data).param("epochs", 1);
    let unknown = run().param("positive", "sarcasm").run();
    let expected = "parameter `positive`: there is no label `sarcasm`; there are `SARCASM`";
    assert!(unknown.error().starts_with(expected), "{}", unknown.error());
    let of_three = data.file("of_three", &rows(12), &["a", "b", "c"]);
    let done = run().input_path("train", of_three.clone()).param("positive", "b").run();
    assert!(
        done.error().contains("`b` cannot be positive: there are 3 labels"),
        "{}",
        done.error()
    );
    let done = run().input_path("train", of_three.clone()).input_path("valid", of_three).run();
    assert_eq!(done.warnings(), ["no training example has the label `c`"]);
    let ones: Vec<_> = rows(12).into_iter().filter(|row| row.1 == Some(0)).collect();
    let done = run().input_path("valid", data.file("ones", &ones, &LABELS)).run();
    assert_eq!(done.warnings().len(), 1);
    assert!(done.warnings()[0].contains("no row of `valid` has the positive label `SARCASM`"));
}

//! The classification head that a checkpoint brings, in `finetune` and `predict`: it is taken over
//! by the names of its classes, and refused if it does something else than to choose one of them.

#![cfg(feature = "model")]

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use stages::StageError;
use tempfile::TempDir;

use crate::finetune::{Data, LABELS, rows};
use crate::harness::{Done, Run};
use crate::reference::{FAMILIES, copy_of};

const REVERSED: [&str; 2] = ["SARCASM", "NOT_SARCASM"];

/// A copy of a fixture, with these entries in its `config.json`.
fn model(fixture: &str, entries: Value) -> TempDir {
    let copy = copy_of(fixture);
    let path = copy.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value) in entries.as_object().unwrap() {
        config[key] = value.clone();
    }
    std::fs::write(path, config.to_string()).unwrap();
    copy
}

fn named(fixture: &str, labels: [&str; 2]) -> TempDir {
    model(fixture, json!({"id2label": {"0": labels[0], "1": labels[1]}, "label2id": null}))
}

/// A `finetune` of this model on data with labels in this order.
fn finetune(model: &Path, epochs: i64, labels: &[&str]) -> Run {
    let data = Data::new();
    let run = Run::new("finetune").input_path("model", model.to_owned());
    let run = run.input("train", std::fs::read(data.file("t", &rows(16), labels)).unwrap());
    let run = run.input("valid", std::fs::read(data.file("v", &rows(16), labels)).unwrap());
    run.param("epochs", epochs).param("batch_size", 8)
}

fn predict(model: &Path) -> Run {
    let file = std::fs::read(Data::new().file("t", &rows(24), &LABELS)).unwrap();
    Run::new("predict").input_path("model", model.to_owned()).input("test", file)
}

/// Label and probabilities of every row.
fn answers(model: &Path) -> Vec<(String, BTreeMap<String, f64>)> {
    let row = |row: Value| {
        let of = |name: &str| serde_json::from_value(row[name].clone()).unwrap();
        (row["label"].as_str().unwrap().to_owned(), of("probabilities"))
    };
    predict(model).run().rows("predictions").into_iter().map(row).collect()
}

fn config(done: &Done) -> Value {
    serde_json::from_slice(&done.bytes("model/config.json")).unwrap()
}

fn notes(done: &Done) -> String {
    done.events.iter().filter_map(|event| event["message"].as_str()).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "the message lacks `{word}`: {message}");
    }
}

#[track_caller]
fn hint(done: &Done) -> String {
    done.result.as_ref().unwrap_err().hint().unwrap()
}

#[test]
fn a_head_in_another_order_gives_the_same_answers() {
    for family in FAMILIES {
        let own = named(family, LABELS);
        let done = finetune(own.path(), 0, &REVERSED).run();
        assert_eq!(config(&done)["id2label"], json!({"0": "SARCASM", "1": "NOT_SARCASM"}));
        let (before, after) = (answers(own.path()), answers(&done.path("model")));
        for ((label, values), (now, now_values)) in before.iter().zip(&after) {
            assert_eq!(label, now, "{family}");
            assert!((values["SARCASM"] - 0.5).abs() > 1e-5, "the order makes no difference");
            for (name, value) in values {
                assert!((value - now_values[name]).abs() < 1e-6, "{family} {name}");
            }
        }
        assert_says(&notes(&done), &["another order"]);
    }
}

#[test]
fn training_starts_from_the_head_in_the_order_of_the_data() {
    let own = named("roberta", LABELS);
    let run = finetune(own.path(), 1, &REVERSED).param("learning_rate", 1e-9);
    let done = run.run();
    assert!(!notes(&done).contains("new parameters"), "{}", notes(&done));
    for ((_, before), (_, after)) in answers(own.path()).iter().zip(answers(&done.path("model"))) {
        assert!((before["SARCASM"] - after["SARCASM"]).abs() < 1e-5);
    }
}

#[test]
fn a_head_with_other_labels_is_replaced_by_training_and_refused_without() {
    // The names that transformers invents mean nothing, so they are other labels too.
    for (fixture, head) in
        [("roberta-irony", ["non_irony", "irony"]), ("bert", ["LABEL_0", "LABEL_1"])]
    {
        let own = copy_of(fixture);
        let refused = finetune(own.path(), 0, &LABELS).run();
        let [first, second] = head;
        assert_says(&refused.error(), &[first, second, "NOT_SARCASM", "SARCASM"]);
        assert_says(&hint(&refused), &["label_map", first, second]);
        let trained = finetune(own.path(), 1, &LABELS).run();
        assert_says(&notes(&trained), &[first, "new head", "label_map", "new parameters"]);
    }
    // A head with the same number of classes is no better, and neither is a part of its labels.
    let own = model("bert", json!({"id2label": {"0": "negative", "1": "SARCASM"}}));
    assert_says(&finetune(own.path(), 0, &LABELS).run().error(), &["negative", "NOT_SARCASM"]);
    let three = finetune(own.path(), 0, &["negative", "SARCASM", "other"]).run();
    assert_says(&three.error(), &["`negative`, `SARCASM`, the data", "`other`"]);
    let part = StageError::OtherLabels {
        head: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        data: vec!["c".to_owned(), "a".to_owned()],
    };
    assert_says(&part.hint().unwrap(), &["`tokenize`", "labels: [a, b, c]"]);
}

#[test]
fn a_label_map_takes_a_head_over() {
    let own = copy_of("roberta-irony");
    let mapped =
        |map: Value, labels: &[&str]| finetune(own.path(), 0, labels).param("label_map", map).run();
    for labels in [LABELS, REVERSED] {
        let map = json!({"irony": "SARCASM", "non_irony": "NOT_SARCASM"});
        let done = mapped(map, &labels);
        for ((_, before), (_, after)) in
            answers(own.path()).iter().zip(answers(&done.path("model")))
        {
            assert!((before["irony"] - after["SARCASM"]).abs() < 1e-6);
        }
    }
    let unknown = mapped(json!({"ironic": "SARCASM"}), &LABELS).error();
    assert_says(&unknown, &["label_map", "`ironic`", "non_irony, irony"]);
    let twice = mapped(json!({"irony": "SARCASM", "non_irony": "SARCASM"}), &LABELS).error();
    assert_says(&twice, &["`SARCASM`, `SARCASM`", "`NOT_SARCASM`"]);
    // A map that does not fit is an error with training too: the head was asked for.
    let run = finetune(own.path(), 1, &LABELS).param("label_map", json!({"irony": "SARCASTIC"}));
    assert_says(&run.run().error(), &["SARCASTIC"]);
    let run = finetune(own.path(), 1, &LABELS).param("label_map", json!({"irony": "SARCASM"}));
    let check = run.param("head", "new").check().unwrap_err();
    assert_says(&check, &["label_map", "head: new"]);
    let headless = copy_of("bert-headless");
    let run = finetune(headless.path(), 1, &LABELS).param("label_map", json!({"a": "SARCASM"}));
    assert_says(&run.run().warnings().join("\n"), &["`label_map` is not used"]);
}

#[test]
fn a_decision_threshold_stays_with_its_class() {
    let own = named("roberta", LABELS);
    let mut values: Vec<f64> =
        answers(own.path()).iter().map(|(_, values)| values["SARCASM"]).collect();
    values.sort_by(f64::total_cmp);
    // A row lies exactly on the threshold, and most lie on one side of a half.
    let threshold = values[6];
    let own = model(
        "roberta",
        json!({"id2label": {"0": LABELS[0], "1": LABELS[1]}, "decision_threshold": threshold}),
    );
    let labels = |model: &Path| -> Vec<String> {
        answers(model).into_iter().map(|(label, _)| label).collect()
    };
    let before = labels(own.path());
    assert_eq!(before.iter().filter(|label| *label == "SARCASM").count(), values.len() - 7);
    let kept = finetune(own.path(), 0, &LABELS).run();
    assert_eq!(config(&kept)["decision_threshold"], json!(threshold));
    assert!(config(&kept).get("decision_class").is_none());
    let moved = finetune(own.path(), 0, &REVERSED).run();
    assert_eq!(config(&moved)["decision_class"], 0);
    let back = finetune(&moved.path("model"), 0, &LABELS).run();
    assert_eq!(config(&back), config(&kept));
    for done in [&kept, &moved, &back] {
        assert_eq!(labels(&done.path("model")), before);
    }
    // With training the threshold is one of another model; `threshold: f1` chooses a new one.
    let trained = finetune(own.path(), 1, &REVERSED).run();
    assert!(config(&trained).get("decision_threshold").is_none());
    let chosen = finetune(own.path(), 0, &REVERSED).param("threshold", "f1").run();
    assert!(config(&chosen)["decision_threshold"].is_number());
    assert!(config(&chosen).get("decision_class").is_none());
}

#[test]
fn heads_that_do_something_else_are_refused_by_name() {
    let names = |names: Value| json!({ "id2label": names, "label2id": null });
    for (entries, words) in [
        (json!({"problem_type": "regression"}), &["2 numbers", "only one"][..]),
        (
            json!({"problem_type": "ranking"}),
            &["problem_type", "ranking", "multi_label_classification"],
        ),
        (names(json!({"0": "a", "2": "b"})), &["id2label", "none of class 1"]),
        (names(json!({"0": "a", "one": "b"})), &["id2label", "`one`"]),
        (names(json!({"0": "a", "01": "b"})), &["id2label", "`01`"]),
        (names(json!({"0": "a", "1": "a"})), &["id2label", "`a` twice"]),
        (names(json!({"0": 0, "1": 1})), &["id2label", "class 0"]),
        (names(json!(["a", "b"])), &["id2label"]),
        (names(json!({"0": "a", "1": "b", "2": "c"})), &["3 names", "2 classes"]),
        (names(json!({})), &["0 names", "2 classes"]),
        (
            json!({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}}),
            &["`a`", "label2id"],
        ),
    ] {
        let own = model("roberta", entries);
        for done in [predict(own.path()).run(), finetune(own.path(), 1, &LABELS).run()] {
            assert_says(&done.error(), &["config.json", "head: new"]);
            assert_says(&done.error(), words);
        }
        finetune(own.path(), 1, &LABELS).param("head", "new").run().path("model");
    }
    for (entries, words) in [
        (json!({"is_decoder": true}), &["`is_decoder`"][..]),
        (json!({"decision_threshold": 7}), &["decision_threshold", "0 to 1"]),
        (json!({"decision_threshold": 0.5, "decision_class": 2}), &["decision_class", "0 or 1"]),
        (json!({"pad_token_id": 60}), &["`pad_token_id` is 60", "60"]),
    ] {
        let own = model("roberta-irony", entries);
        for done in [predict(own.path()).run(), finetune(own.path(), 1, &LABELS).run()] {
            assert_says(&done.error(), words);
        }
    }
}

#[test]
fn a_head_with_one_output_gives_a_number_and_chooses_no_label() {
    let own = copy_of("bert");
    let path = own.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let first_row = |(name, view): (&str, TensorView)| {
        let mut shape = view.shape().to_vec();
        let mut length = view.data().len();
        if name.starts_with("classifier.") {
            (shape[0], length) = (1, length / 2);
        }
        (name.to_owned(), (view.dtype(), shape, view.data()[..length].to_vec()))
    };
    let tensors: Vec<_> = file.iter().map(first_row).collect();
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    // As in transformers, it is a regression unless the config says otherwise.
    assert_says(&predict(own.path()).run().error(), &["one label", "the model gives a number"]);
    let trained = finetune(own.path(), 1, &LABELS).run();
    assert_says(&notes(&trained), &["starting from a new head", "gives a number"]);
    let path = own.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["problem_type"] = json!("single_label_classification");
    std::fs::write(&path, config.to_string()).unwrap();
    for done in [predict(own.path()).run(), finetune(own.path(), 1, &LABELS).run()] {
        assert_says(&done.error(), &["one output", "head: new"]);
    }
    finetune(own.path(), 1, &LABELS).param("head", "new").run().path("model");
}

#[test]
fn a_head_of_another_task_is_no_head() {
    let own = model("bert", json!({"architectures": ["BertForTokenClassification"]}));
    assert_says(&predict(own.path()).run().error(), &["BertForTokenClassification", "no head"]);
    let trained = finetune(own.path(), 1, &LABELS).run();
    assert_says(&notes(&trained), &["new parameters: classifier.weight"]);
}

#[test]
fn invented_names_are_said_to_be_invented() {
    let own = copy_of("roberta");
    assert_says(&notes(&predict(own.path()).run()), &["LABEL_0", "label_map"]);
    let map = json!({"LABEL_0": "NOT_SARCASM", "LABEL_1": "SARCASM"});
    let done = predict(own.path()).param("label_map", map.clone()).run();
    assert_eq!(notes(&done), "");
    let taken = finetune(own.path(), 0, &LABELS).param("label_map", map).run();
    assert_eq!(config(&taken)["id2label"]["1"], "SARCASM");
}

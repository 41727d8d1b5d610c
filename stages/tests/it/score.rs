//! `score` compared with scikit-learn, on the cases that `fixtures/make_scores.py` makes.

#[path = "task_training.rs"]
mod task_training;
#[path = "tasks.rs"]
mod tasks;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Done, Run};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/score").join(name)
}

fn expected() -> Value {
    serde_json::from_str(include_str!("../fixtures/score/expected.json")).unwrap()
}

fn score(case: &str) -> Run {
    Run::new("score").input_path("valid", fixture(&format!("{case}.jsonl")))
}

/// Asserts equality; numbers may differ by 1e-12.
#[track_caller]
fn assert_close(found: &Value, wanted: &Value, what: &str) {
    match (found, wanted) {
        (Value::Number(found), Value::Number(wanted)) => {
            let (found, wanted) = (found.as_f64().unwrap(), wanted.as_f64().unwrap());
            assert!((found - wanted).abs() <= 1e-12, "{what}: {found}, not {wanted}");
        }
        (Value::Object(found), Value::Object(wanted)) => {
            let keys = |object: &serde_json::Map<_, _>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(found), keys(wanted), "{what}");
            for (key, wanted) in wanted {
                assert_close(&found[key], wanted, &format!("{what}.{key}"));
            }
        }
        _ => assert_eq!(found, wanted, "{what}"),
    }
}

#[test]
fn all_figures_equal_those_of_scikit_learn() {
    let cases = [
        "binary",
        "four_classes",
        "never_predicted",
        "never_true",
        "one_class",
        "certain_and_wrong",
        "tied",
    ];
    for case in cases {
        let (all, run) = (expected(), score(case));
        let wanted = &all[case];
        let scores =
            run.param("positive", wanted["positive"]["label"].clone()).run().json("scores");
        let found = &scores["valid"];
        let figures = [
            "rows",
            "labels",
            "accuracy",
            "positive",
            "macro",
            "weighted",
            "per_class",
            "matthews_correlation",
            "log_loss",
            "roc_auc",
            "average_precision",
            "brier_score",
            "expected_calibration_error",
        ];
        for figure in figures {
            assert_close(&found[figure], &wanted[figure], &format!("{case}.{figure}"));
        }
        let matrix = &found["confusion_matrix"];
        assert_eq!(matrix["counts"], wanted["confusion_matrix"], "{case}");
        assert_eq!(matrix["labels"], wanted["labels"], "{case}");
        assert_eq!((&matrix["rows"], &matrix["columns"]), (&json!("gold"), &json!("predicted")));
    }
}

#[test]
fn fixtures_hold_a_class_that_is_never_predicted_and_one_that_is_never_true() {
    let wanted = expected();
    assert_eq!(wanted["never_predicted"]["per_class"]["optimism"]["precision"], 0.0);
    assert_ne!(wanted["never_predicted"]["per_class"]["optimism"]["support"], 0);
    assert_eq!(wanted["never_true"]["per_class"]["optimism"]["support"], 0);
    assert_eq!(wanted["one_class"]["labels"], json!(["SARCASM"]));
}

#[test]
fn intervals_are_near_those_of_resampled_rows() {
    for case in ["binary", "four_classes"] {
        let run = score(case).param("bootstrap", 20_000);
        let run = run.param("positive", expected()[case]["positive"]["label"].clone());
        let scores = run.run().json("scores");
        for (figure, wanted) in expected()[case]["intervals"].as_object().unwrap() {
            for side in 0..2 {
                let found = scores["valid"]["intervals"][figure][side].as_f64().unwrap();
                let wanted = wanted[side].as_f64().unwrap();
                // These intervals are about 0.1 wide, and their ends vary by 0.001.
                assert!((found - wanted).abs() < 0.005, "{case}.{figure}: {found}, not {wanted}");
            }
        }
    }
}

fn against(case: &str) -> Run {
    score(case).input_path("against", fixture(&format!("{case}_other.jsonl")))
}

#[test]
fn a_comparison_has_the_differences_of_the_figures_and_the_intervals_of_resampled_pairs() {
    for case in ["binary", "four_classes"] {
        let run = against(case).param("bootstrap", 20_000);
        let run = run.param("positive", expected()[case]["positive"]["label"].clone());
        let found = run.run().json("scores")["against"].take();
        let wanted = &expected()[case]["against"];
        assert_eq!(found["input"], "valid");
        for name in ["only_this_right", "only_other_right", "mcnemar"] {
            assert_close(&found[name], &wanted[name], name);
        }
        for name in ["accuracy", "f1", "macro_f1"] {
            let (found, wanted) = (&found[name], &wanted[name]);
            for figure in ["this", "other", "difference"] {
                assert_close(&found[figure], &wanted[figure], name);
            }
            let near = |found: &Value, wanted: &Value, by: f64| {
                let (found, wanted) = (found.as_f64().unwrap(), wanted.as_f64().unwrap());
                assert!((found - wanted).abs() < by, "{case}.{name}: {found}, not {wanted}");
            };
            near(&found["interval"][0], &wanted["interval"][0], 0.005);
            near(&found["interval"][1], &wanted["interval"][1], 0.005);
            // Both p values are twice a share of 20,000 replicates; 0.02 is three standard
            // deviations.
            near(&found["p"], &wanted["p"], 0.02);
        }
    }
}

#[test]
fn the_p_values_of_mcnemar_s_test_equal_those_of_scipy() {
    use stages::builtin::score::paired_comparison::{Cells, compare};
    use stages::builtin::score::params::ScoreParams;
    use stages::data::classification::Headline;
    let params = ScoreParams { positive: None, replicates: 0, confidence: 0.95, seed: 1 };
    for case in expected()["mcnemar"].as_array().unwrap() {
        let count = |place: usize| case[place].as_u64().unwrap();
        let cells = Cells::from([((0, 0, 1), count(0)), ((0, 1, 0), count(1)), ((1, 1, 1), 7)]);
        let headline = Headline::of(["A", "B"], None);
        let found = compare(&cells, 2, &headline, Some(("B", 1)), &params).mcnemar;
        for (found, name) in [(found.exact_p, "exact_p"), (found.mid_p, "mid_p")] {
            let wanted = case[2][name].as_f64().unwrap();
            assert!((found - wanted).abs() <= 1e-10 * wanted, "{case}: {found}");
        }
    }
}

#[test]
fn predictions_compared_with_themselves_do_not_differ() {
    let done = score("binary").input_path("against", fixture("binary.jsonl")).run();
    let found = done.json("scores")["against"].take();
    assert_eq!(found["f1"]["interval"], json!([0.0, 0.0]));
    assert_eq!((&found["f1"]["p"], &found["mcnemar"]["exact_p"]), (&json!(1.0), &json!(1.0)));
    let values = &done.events.iter().find(|event| event["event"] == "metrics").unwrap()["values"];
    assert_eq!((&values["accuracy_difference"], &values["mcnemar_p"]), (&json!(0.0), &json!(1.0)));
    let without = score("binary").input_path("against", fixture("binary.jsonl"));
    let found = without.param("bootstrap", 0).run().json("scores")["against"].take();
    assert_eq!((&found["f1"]["interval"], &found["f1"]["p"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_input_that_begins_with_the_same_id_is_compared() {
    let run = || score("binary").input_path("test", fixture("certain_and_wrong.jsonl"));
    for (other, input) in [("binary_other", "valid"), ("certain_and_wrong", "test")] {
        let done = run().input_path("against", fixture(&format!("{other}.jsonl"))).run();
        assert_eq!(done.json("scores")["against"]["input"], input);
    }
}

#[test]
fn predictions_of_other_examples_are_not_compared() {
    let row = |id: &str, label: &str, gold: &str| {
        format!("{{\"id\":\"{id}\",\"label\":\"{label}\",\"gold\":{gold}}}\n")
    };
    let valid = row("a", "A", "\"A\"") + &row("b", "B", "null");
    let error = |other: String| {
        Run::new("score").input("valid", &valid).input("against", other).run().error()
    };
    assert_eq!(
        error(row("a", "A", "null") + &row("c", "A", "null")),
        "against.in, line 2: the id is `c`, in valid.in it is `b`: only predictions of the same \
         examples in the same order can be compared"
    );
    assert_eq!(
        error(row("a", "A", "null")),
        "against.in, line 1: is the last row, but valid.in has more rows"
    );
    let longer = valid.clone() + &row("c", "A", "null");
    assert_eq!(error(longer), "against.in, line 3: is one row more than valid.in has");
    assert_eq!(
        error(row("a", "A", "\"B\"")),
        "against.in, line 1: the true label is `B`, in valid.in it is `A`"
    );
    let unlabelled = row("a", "A", "null");
    let run = Run::new("score").input("valid", &unlabelled).input("against", &unlabelled);
    assert_eq!(
        run.run().error(),
        "valid.in: no row has a true label, neither here nor in `against`"
    );
    let alone = Run::new("score").input("against", "");
    assert_eq!(alone.check().unwrap_err(), "`score` needs an input: `valid`, `test` or both");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_other_intervals() {
    let first = score("binary").run();
    let again = score("binary").run();
    let other = score("binary").param("seed", 43).run();
    assert_eq!(first.text("scores"), again.text("scores"));
    let intervals = |scores: Value| scores["valid"]["intervals"].clone();
    assert!(intervals(first.json("scores")).is_object());
    assert_ne!(intervals(first.json("scores")), intervals(other.json("scores")));
}

#[test]
fn an_interval_grows_with_confidence_and_none_is_made_on_request() {
    let width = |confidence: f64| {
        let scores = score("binary").param("confidence", confidence).run().json("scores");
        let interval = scores["valid"]["intervals"]["f1"].clone();
        interval[1].as_f64().unwrap() - interval[0].as_f64().unwrap()
    };
    assert!(width(0.5) < width(0.9));
    assert!(width(0.9) < width(0.99));
    let scores = score("binary").param("bootstrap", 0).run().json("scores");
    assert_eq!(scores["valid"].get("intervals"), None);
}

#[test]
fn the_order_of_rows_changes_nothing_but_the_rounding_of_sums() {
    let text = std::fs::read_to_string(fixture("four_classes.jsonl")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.reverse();
    let mut forward = score("four_classes").run().json("scores");
    let mut backward = Run::new("score").input("valid", lines.join("\n")).run().json("scores");
    for scores in [&mut forward, &mut backward] {
        for sum in ["log_loss", "brier_score", "expected_calibration_error"] {
            scores["valid"][sum] = Value::Null;
        }
    }
    assert_eq!(forward, backward);
}

#[test]
fn predictions_without_true_labels_are_only_counted() {
    let done = Run::new("score")
        .input_path("valid", fixture("binary.jsonl"))
        .input(
            "test",
            "{\"id\":\"a\",\"label\":\"SARCASM\",\"gold\":null}\n{\"id\":\"b\",\"label\":\"SARCASM\"}\n",
        )
        .run();
    let test = &done.json("scores")["test"];
    assert_eq!(*test, json!({"rows": 2, "labelled": 0, "note": "no gold labels"}));
    let metrics = done.events.iter().find(|event| event["event"] == "metrics").unwrap();
    assert_close(&metrics["values"]["valid_f1"], &expected()["binary"]["positive"]["f1"], "f1");
    assert!(metrics["values"].get("test_f1").is_none());
}

#[test]
fn the_positive_label_is_the_last_one_or_the_one_named() {
    let named = score("binary").param("positive", "NOT_SARCASM").run();
    let wanted = &expected()["binary"]["per_class"]["NOT_SARCASM"];
    let found = &named.json("scores")["valid"]["positive"];
    assert_eq!(found["label"], "NOT_SARCASM");
    assert_close(&found["recall"], &wanted["recall"], "recall");
    let unknown = score("binary").param("positive", "sarcasm").run();
    assert_eq!(
        unknown.error(),
        "parameter `positive`: no prediction knows the label `sarcasm`; \
         there are `SARCASM`, `NOT_SARCASM`"
    );
}

/// The metrics of a run.
fn metrics(done: &Done) -> Value {
    let event = done.events.iter().find(|event| event["event"] == "metrics");
    event.map_or(Value::Null, |event| event["values"].clone())
}

#[test]
fn more_than_two_labels_have_macro_averages_and_a_positive_label_only_if_it_is_named() {
    let wanted = &expected()["four_classes"];
    let done = score("four_classes").run();
    let found = done.json("scores")["valid"].take();
    assert_eq!((&found["headline"], &found["positive"]), (&json!("macro_f1"), &Value::Null));
    assert_eq!((&found["roc_auc"], &found["average_precision"]), (&Value::Null, &Value::Null));
    assert_eq!(found["intervals"].get("f1"), None);
    let values = metrics(&done);
    for (name, figure) in [("f1", "f1"), ("precision", "precision"), ("recall", "recall")] {
        assert_close(&values[format!("valid_macro_{name}")], &wanted["macro"][figure], name);
        assert_eq!(values.get(format!("valid_{name}")), None, "{name}");
    }
    assert!(values["valid_macro_f1_low"].is_f64());

    let named = score("four_classes").param("positive", "joy").run();
    let values = metrics(&named);
    assert_close(&values["valid_macro_f1"], &wanted["macro"]["f1"], "macro");
    assert_close(&values["valid_positive_f1"], &wanted["per_class"]["joy"]["f1"], "joy");
    assert_eq!(values.get("valid_f1"), None);
    let other = fixture("four_classes_other.jsonl");
    let compared = score("four_classes").input_path("against", other).run();
    let (values, found) = (metrics(&compared), compared.json("scores"));
    assert_eq!(values["macro_f1_difference"], found["against"]["macro_f1"]["difference"]);
    assert_eq!((values.get("f1_difference"), found["against"].get("f1")), (None, None));
}

#[test]
fn another_input_changes_no_figure() {
    let alone = score("binary").run();
    // `Z` would be the last label of all, and a third one.
    for label in ["Z", "NOT_SARCASM"] {
        let row = format!(r#"{{"id":"z","label":"{label}","gold":"{label}"}}"#);
        let both = score("binary").input("test", row).run();
        assert_eq!(both.json("scores")["valid"], alone.json("scores")["valid"]);
        for (name, value) in metrics(&alone).as_object().unwrap() {
            assert_eq!(metrics(&both)[name], *value, "{name}");
        }
    }
}

#[test]
fn a_positive_label_that_an_input_lacks_scores_0_there_and_is_warned_of() {
    let row = r#"{"id":"a","label":"A","probabilities":{"A":0.75,"B":0.25},"gold":"A"}"#;
    let done = Run::new("score").input("valid", row).run();
    let warning = "no row of `valid` has the positive label `B`, so its recall and F1 are 0; the \
                   parameter `positive` names another one";
    assert_eq!(done.warnings(), [warning]);
    assert!(score("binary").run().warnings().is_empty());
    let scores = done.json("scores");
    let positive = json!({"label": "B", "precision": 0.0, "recall": 0.0, "f1": 0.0});
    assert_eq!(scores["valid"]["positive"], positive);
    assert_eq!(scores["valid"]["labels"], json!(["A"]));
}

#[test]
fn without_probabilities_there_is_no_loss() {
    let row = r#"{"id":"a","label":"A","gold":"A"}"#;
    let scores = Run::new("score").input("valid", row).run().json("scores");
    for figure in
        ["log_loss", "roc_auc", "average_precision", "brier_score", "expected_calibration_error"]
    {
        assert_eq!(scores["valid"][figure], Value::Null);
    }
    assert_eq!(scores["valid"]["accuracy"], 1.0);
}

#[test]
fn malformed_predictions_are_named_by_file_and_line() {
    let good = r#"{"id":"a","label":"A","probabilities":{"A":0.75,"B":0.25},"gold":"A"}"#;
    let cases = [
        (
            r#"{"id":"b","lable":"A"}"#,
            "valid.in, line 2: no field `label`; there are `lable`, `id`",
        ),
        (
            r#"{"id":"b","label":"C","probabilities":{"A":0.5,"B":0.5}}"#,
            "valid.in, line 2: no probability of the predicted label `C`; there are `A`, `B`",
        ),
        (
            r#"{"id":"b","label":"A","probabilities":{"A":0.5,"B":0.25}}"#,
            "valid.in, line 2: the probabilities sum to 0.75, expected 1",
        ),
        (
            r#"{"id":"b","label":"A","probabilities":{"A":1.5,"B":-0.5}}"#,
            "valid.in, line 2: the probability of `A` is 1.5, expected 0 to 1",
        ),
        (
            r#"{"id":"b","label":"A""#,
            "valid.in, line 2: expected a JSON object on one line, but the line ends before the \
             object does",
        ),
    ];
    for wrong in ["null", "NaN", "1e999", "\"0.5\"", "Infinity"] {
        let bad = format!(
            r#"{{"id":"b","label":"A","probabilities":{{"A":{wrong},"B":0.5}},"gold":"A"}}"#
        );
        let error = |run: Run| run.run().error();
        let both = format!("{good}\n{bad}\n");
        let found = error(Run::new("score").input("valid", &both));
        assert!(found.starts_with("valid.in, line 2: "), "{wrong}: {found}");
        let good = format!("{good}\n{good}\n");
        let found = error(Run::new("score").input("valid", good).input("against", both));
        assert!(found.starts_with("against.in, line 2: "), "{wrong}: {found}");
    }
    for (bad, message) in cases {
        let done = Run::new("score").input("valid", format!("{good}\n{bad}\n")).run();
        assert_eq!(done.error(), message);
    }
    assert_eq!(
        Run::new("score").input("valid", "\n").run().error(),
        "valid.in: holds no predictions"
    );
}

#[test]
fn senseless_parameters_are_refused() {
    let check = |run: Run| run.check().unwrap_err();
    assert_eq!(check(Run::new("score")), "`score` needs an input: `valid`, `test` or both");
    assert_eq!(
        check(score("binary").param("confidence", 1.0)),
        "`confidence` is 1, expected more than 0 and less than 1"
    );
    assert!(check(score("binary").param("bootstrap", 1)).starts_with("`bootstrap` is 1"));
}

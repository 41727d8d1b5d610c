//! `clean` carries out a person's decisions.

use serde_json::{Value, json};

use crate::harness::Run;

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn examples() -> String {
    lines(&[
        json!({"id": "a", "label": "YES", "text": "one", "context": ["q"], "line": 1}),
        json!({"id": "b", "label": "NO", "text": "two", "context": [], "line": 2}),
        json!({"id": "c", "label": "YES", "text": "three", "context": [], "line": 3}),
        json!({"id": "d", "text": "four", "context": [], "line": 4}),
    ])
}

#[track_caller]
fn refused(decisions: &[Value]) -> String {
    let run = Run::new("clean").input("examples", examples());
    run.input("decisions", lines(decisions)).run().error()
}

#[test]
fn examples_are_kept_dropped_and_relabelled_as_decided() {
    let decisions = lines(&[
        json!({"id": "c", "decision": "drop", "label": "YES", "text": "three"}),
        json!({"id": "a", "decision": "relabel", "label": "YES", "suggested": "NO"}),
        json!({"id": "b", "decision": "keep"}),
        json!({"id": "d", "decision": null, "suggested": "NO"}),
    ]);
    let done = Run::new("clean").input("examples", examples()).input("decisions", decisions).run();
    let expected = lines(&[
        json!({"id": "a", "label": "NO", "text": "one", "context": ["q"], "line": 1}),
        json!({"id": "b", "label": "NO", "text": "two", "context": [], "line": 2}),
        json!({"id": "d", "text": "four", "context": [], "line": 4}),
    ]);
    let found: Vec<Value> = done.rows("examples");
    let wanted: Vec<Value> =
        expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found, wanted);
    let report = done.json("report");
    let counts = ["rows", "kept", "dropped", "relabelled", "undecided"].map(|it| &report[it]);
    assert_eq!(counts, [&json!(4), &json!(3), &json!(1), &json!(1), &json!(1)]);
    assert_eq!(report["relabelled_by_label"], json!({"YES": {"NO": 1}}));
}

#[test]
fn no_decision_leaves_every_byte() {
    let done = Run::new("clean").input("examples", examples()).input("decisions", "").run();
    assert_eq!(done.text("examples"), examples());
}

#[test]
fn a_new_label_that_is_named_counts_before_the_suggested_one() {
    let decision = json!({"id": "b", "decision": "relabel", "to": "YES", "suggested": "NO"});
    let run = Run::new("clean").input("examples", examples());
    let done = run.input("decisions", lines(&[decision])).run();
    assert_eq!(done.rows("examples")[1]["label"], "YES");
}

#[test]
fn decisions_about_other_data_are_refused() {
    let error =
        refused(&[json!({"id": "a", "decision": "keep"}), json!({"id": "z", "decision": "drop"})]);
    assert_eq!(
        error,
        "decisions.in, line 2: `examples` has no row `z`: the decision is about other data"
    );
    let error = refused(&[json!({"id": "b", "decision": "drop", "label": "YES"})]);
    assert!(
        error.contains("had the label `YES` when it was decided on, and has `NO` now"),
        "{error}"
    );
    let error = refused(&[json!({"id": "b", "decision": "keep", "text": "other"})]);
    assert!(error.contains("the text of `b` has changed"), "{error}");
}

#[test]
fn slips_of_the_pen_are_refused() {
    let relabel = |to: Value| json!({"id": "b", "decision": "relabel", "to": to});
    let error = refused(&[relabel(json!("YSE"))]);
    assert_eq!(
        error,
        "decisions.in, line 1: no example has the label `YSE`; there are `YES`, `NO`"
    );
    assert!(refused(&[relabel(Value::Null)]).contains("neither `to` nor `suggested` says how"));
    assert!(refused(&[relabel(json!(" "))]).contains("is empty"));
    let same = json!({"id": "b", "decision": "relabel", "to": "NO", "label": "NO"});
    assert!(refused(&[same]).contains("which it has"));
    let error = refused(&[json!({"id": "b", "decision": "dorp"})]);
    assert!(error.contains("`dorp`") && error.contains("drop"), "{error}");
    let twice = json!({"id": "b", "decision": "drop"});
    assert!(refused(&[twice.clone(), twice]).contains("decided on in line 1 already"));
    let all = ["a", "b", "c", "d"].map(|id| json!({"id": id, "decision": "drop"}));
    assert_eq!(refused(&all), "decisions.in: drops every example");
    assert!(refused(&[json!({"decision": "drop"})]).contains("id"));
}

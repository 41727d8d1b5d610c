//! With `--json`, an error that ends the program is also printed as one JSON object.

use serde_json::Value;

use crate::harness::{Ended, Project};

const ONE: &str =
    "stages:\n  count: {run: 'cat $IN_t > $OUT_x', inputs: {t: t.txt}, outputs: [x]}\n";

fn project() -> Project {
    let project = Project::new(ONE);
    project.write("t.txt", "1\n");
    project
}

/// The JSON object, checked against the plain text.
#[track_caller]
fn error(ended: Ended) -> Value {
    let ended = ended.expect_code(2);
    assert!(ended.stderr.contains("error: "), "{}", ended.stderr);
    let [object] = &ended.events()[..] else { panic!("not one object: {}", ended.stdout) };
    assert_eq!(object["event"], "error");
    object.clone()
}

#[test]
fn an_invalid_pipeline_is_reported_with_file_line_and_every_problem() {
    let project = project();
    project.write("pipeline.yaml", &ONE.replace("inputs:", "imputs:").replace("run:", "rum:"));
    for command in [&["run", "--json"][..], &["status", "--json"], &["explain", "--json", "x"]] {
        let error = error(project.pipe(command));
        assert_eq!(
            error["message"],
            "stage `count` has neither `uses` nor `run`, and there is no built-in of that name"
        );
        assert!(error["file"].as_str().unwrap().ends_with("pipeline.yaml"), "{error}");
        assert_eq!(error["line"], 2);
        let messages: Vec<&Value> =
            error["problems"].as_array().unwrap().iter().map(|one| &one["message"]).collect();
        assert!(messages.len() > 1, "{messages:?}");
        assert!(messages.iter().any(|message| **message == "unknown key `rum` of stage `count`"));
    }
}

#[test]
fn a_misspelt_stage_is_reported_with_its_hint() {
    for command in [&["run", "--json", "cuont"][..], &["explain", "--json", "cuont"]] {
        let error = error(project().pipe(command));
        assert_eq!(error["message"], "there is no stage `cuont`");
        assert_eq!(error["hint"], "did you mean `count`?");
        assert_eq!(error["file"], Value::Null);
    }
}

#[test]
fn a_missing_pipeline_a_frozen_stage_and_a_scarce_resource_are_reported_too() {
    let project = project();
    project.write("pipeline.yaml", &ONE.replace("inputs:", "frozen: true, inputs:"));
    let frozen = error(project.pipe(&["status", "--json"]));
    assert_eq!(frozen["line"], 2);
    assert!(frozen["file"].as_str().unwrap().ends_with("pipeline.yaml"), "{frozen}");
    project.write("pipeline.yaml", &ONE.replace("inputs:", "resources: {gpu: 2}, inputs:"));
    let too_few = error(project.pipe(&["run", "--json"]));
    assert!(too_few["hint"].as_str().unwrap().contains("--resource gpu=2"), "{too_few}");
    std::fs::remove_file(project.path("pipeline.yaml")).unwrap();
    let none = error(project.pipe(&["run", "--json"]));
    assert!(none["message"].as_str().unwrap().starts_with("there is no `pipeline.yaml`"));
}

#[test]
fn usage_errors_are_reported_too() {
    let usage = error(project().pipe(&["run", "--json", "--jobs", "0"]));
    assert!(usage["message"].as_str().unwrap().starts_with("invalid value '0' for '--jobs"));
    let usage = error(project().pipe(&["run", "--json", "--froce"]));
    assert_eq!(usage["message"], "unexpected argument '--froce' found");
    assert_eq!(usage["hint"], "a similar argument exists: '--force'");
}

#[test]
fn without_json_nothing_goes_to_standard_output() {
    let ended = project().pipe(&["run", "cuont"]).expect_code(2);
    assert_eq!(ended.stdout, "");
    let ended = project().pipe(&["run", "--jobs", "0"]).expect_code(2);
    assert_eq!(ended.stdout, "");
    assert_eq!(project().pipe(&["run", "--help", "--json"]).expect_code(0).stderr, "");
}

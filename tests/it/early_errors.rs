//! With `--json`, an error that ends the program is also printed as one JSON object.

use clap::CommandFactory;
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

/// The words of every command that has `--json`, with a value for each required argument.
fn commands_with_json(command: &clap::Command, words: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    if command.get_arguments().any(|argument| argument.get_long() == Some("json")) {
        let required = command.get_positionals().filter(|argument| argument.is_required_set());
        let options = command.get_opts().filter(|option| option.is_required_set());
        let options = options.filter_map(|option| Some(format!("--{}=last", option.get_long()?)));
        let values = required.map(|_| "last".to_owned()).chain(options);
        found.push(words.iter().cloned().chain(values).chain(["--json".to_owned()]).collect());
    }
    for inner in command.get_subcommands() {
        let words = [words, &[inner.get_name().to_owned()]].concat();
        found.extend(commands_with_json(inner, &words));
    }
    found
}

#[test]
fn every_command_with_json_reports_an_error_as_one_object() {
    let project = project();
    std::fs::remove_file(project.path("pipeline.yaml")).unwrap();
    let commands = commands_with_json(&pipe::cli::Cli::command(), &[]);
    assert!(commands.len() > 15, "{commands:?}");
    // `doctor` lists what is wrong.
    for words in commands.iter().filter(|words| words[0] != "doctor") {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let error = error(project.pipe(&words));
        assert!(error["message"].as_str().unwrap().starts_with("there is no `pipeline.yaml`"));
        assert!(error["hint"].as_str().unwrap().contains("-C DIR"), "{words:?}: {error}");
    }
}

#[test]
fn a_run_an_example_and_an_artifact_that_do_not_exist_are_reported_too() {
    let project = project();
    for (command, message) in [
        (&["diff", "--json"][..], "the log of runs is empty"),
        (&["report", "--json"], "the log of runs is empty"),
        (&["restore", "--json", "last"], "the log of runs is empty"),
        (&["why-row", "--json", "a"], "no result of this pipeline contains the example `a`"),
        (&["show", "--json", "abc"], "`abc` names nothing in the store"),
        (&["verify", "--json", "cuont"], "there is no stage `cuont`"),
    ] {
        assert_eq!(error(project.pipe(command))["message"], message);
    }
}

#[test]
fn a_stage_that_fails_when_it_is_verified_is_reported_with_its_last_lines() {
    let project = Project::new("stages:\n  a: {run: 'echo so it is >&2; exit 3', outputs: [x]}\n");
    let ended = project.pipe(&["verify", "--json", "a"]).expect_code(1);
    assert!(ended.stderr.contains("error: stage `a` failed: exit code 3\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("  | so it is\n"), "{}", ended.stderr);
    let [object] = &ended.events()[..] else { panic!("not one object: {}", ended.stdout) };
    assert_eq!(object["event"], "error");
    assert_eq!(object["message"], "stage `a` failed: exit code 3");
    assert_eq!(object["last_lines"][0], "so it is");
}

#[test]
fn without_json_nothing_goes_to_standard_output() {
    let ended = project().pipe(&["run", "cuont"]).expect_code(2);
    assert_eq!(ended.stdout, "");
    let ended = project().pipe(&["run", "--jobs", "0"]).expect_code(2);
    assert_eq!(ended.stdout, "");
    // Behind `--` it is an argument.
    let ended = project().pipe(&["why-row", "--", "--json", "b"]).expect_code(2);
    assert_eq!(ended.stdout, "");
    assert_eq!(project().pipe(&["run", "--help", "--json"]).expect_code(0).stderr, "");
}

//! `pipe classify` predicts what the pipeline predicts.

#![cfg(feature = "model")]

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::Project;
use crate::init::{folder, news};
use crate::job::{ALL_RAN, project_of_epochs};

fn trained() -> Project {
    let project = project_of_epochs(1);
    project.expect_run(&[], ALL_RAN);
    project
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_file_of_tweets_gets_the_labels_that_the_pipeline_gave_them() {
    expect_labels_of_the_pipeline(&[]);
}

#[test]
fn long_texts_get_the_labels_that_the_pipeline_gave_them_by_their_windows() {
    let windows = ["--set", "tokenize.max_length=16", "--set", "tokenize.window_stride=4"];
    let project = expect_labels_of_the_pipeline(&windows);
    let scores = ["cache", "cat", "score:scores"];
    let scores = project.pipe(&[&scores[..], &windows].concat()).expect_code(0).stdout;
    let scores: Value = serde_json::from_str(&scores).unwrap();
    assert_eq!(scores["test"]["rows"], 120, "{scores}");
}

/// Runs the pipeline with these arguments, and classifies its test file with them.
#[track_caller]
fn expect_labels_of_the_pipeline(with: &[&str]) -> Project {
    let project = project_of_epochs(1);
    project.expect_run(with, ALL_RAN);
    let pipe = |arguments: &[&str]| {
        lines(&project.pipe(&[arguments, with].concat()).expect_code(0).stdout)
    };
    let said = pipe(&["cache", "cat", "predict:predictions"]);
    let found = pipe(&["classify", "--input", "data/sample/test.jsonl", "--json"]);
    assert_eq!((said.len(), found.len()), (120, 120));
    for (said, found) in said.iter().zip(&found) {
        assert_eq!(said["id"], found["id"]);
        assert_eq!(said["label"], found["label"]);
        // To the bit, although the batches are others.
        assert_eq!(said["probabilities"], found["probabilities"]);
    }
    project
}

#[test]
fn texts_come_as_arguments_from_a_text_file_or_from_standard_input() {
    let project = trained();
    let texts = ["@USER what a lovely day", "I am so tired"];
    let arguments = [&["classify", "--json"], &texts[..]].concat();
    let given = lines(&project.pipe(&arguments).expect_code(0).stdout);
    // It cleans tweets as `ingest` does.
    let without = lines(&project.pipe(&["classify", "--json", " what a lovely day"]).stdout);
    assert_eq!(given[0]["probabilities"], without[0]["probabilities"]);
    project.write("texts.txt", &(texts.join("\n") + "\n"));
    let of_file = project.pipe(&["classify", "--json", "--input", "texts.txt"]).expect_code(0);
    assert_eq!(lines(&of_file.stdout), given);
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" classify --json < texts.txt", env!("CARGO_BIN_EXE_pipe")]);
    command.current_dir(project.path(".")).env_remove("PIPE_CACHE").stderr(Stdio::inherit());
    let piped = lines(&String::from_utf8(command.output().unwrap().stdout).unwrap());
    assert_eq!(piped, given);
    let shown = project.pipe(&["classify", texts[0], "a\tb\u{1b}[31m"]).expect_code(0).stdout;
    let is_row =
        |line: &str| line.split_whitespace().next().is_some_and(|label| label.ends_with("SARCASM"));
    assert!(shown.lines().all(is_row), "{shown}");
    assert!(!shown.contains('\u{1b}') && shown.lines().count() == 2, "{shown}");
}

#[test]
fn several_files_are_read_one_after_the_other_each_in_its_own_format() {
    let project = trained();
    project.write("texts/b.jsonl", "{\"id\": \"1\", \"response\": \"second\"}\n");
    project.write("texts/c.csv", "id,response\n1,third\n2,fourth\n");
    project.write("a.txt", "first\n");
    let all = |inputs: &[&str]| {
        let asked = [&["classify", "--json", "--input"], inputs].concat();
        let found = lines(&project.pipe(&asked).expect_code(0).stdout);
        let row = |row: &Value| format!("{} {}", row["file"].as_str().unwrap_or("-"), row["text"]);
        found.iter().map(row).collect::<Vec<String>>()
    };
    let expected = [
        "a.txt \"first\"",
        "texts/b.jsonl \"second\"",
        "texts/c.csv \"third\"",
        "texts/c.csv \"fourth\"",
    ];
    assert_eq!(all(&["a.txt", "texts/b.jsonl", "texts/c.csv"]), expected);
    assert_eq!(all(&["a.txt", "texts/*"]), expected);
    assert_eq!(all(&["texts/c.csv", "a.txt"])[2], expected[0]);
    // One file is as it was.
    assert_eq!(all(&["texts/b*"]), ["- \"second\""]);
    let told = |inputs: &[&str], code: i32| {
        let ended = project.pipe(&[&["classify", "--json", "--input"], inputs].concat());
        let ended = ended.expect_code(code);
        (lines(&ended.stdout).len(), ended.stderr)
    };
    let (_, none) = told(&["texts/*.tsv"], 2);
    assert!(none.contains("no file matches `texts/*.tsv`"), "{none}");
    for wrong in ["none.txt", "texts"] {
        let (answered, told) = told(&["a.txt", wrong], 1);
        assert_eq!(answered, 1, "only the error: {told}");
        assert!(told.contains(wrong), "{told}");
    }
    project.write("texts/c.csv", "id,response\n1,third\n2\n");
    let (answered, short) = told(&["texts/*"], 1);
    assert!(short.contains("c.csv, line 3"), "{short}");
    assert_eq!(answered, 3, "the two before it, and the error");
}

#[test]
fn the_model_may_be_an_artifact_or_a_folder_without_any_pipeline() {
    let project = trained();
    let all = |arguments: &[&str]| project.pipe(&[&["classify", "--json"], arguments].concat());
    let own = all(&["well done"]).expect_code(0).stdout;
    assert_eq!(all(&["--model", "finetune:model", "well done"]).expect_code(0).stdout, own);
    std::fs::create_dir(project.path("copy")).unwrap();
    for name in ["config.json", "model.safetensors", "vocab.json", "merges.txt"] {
        let artifact = format!("finetune:model/{name}");
        let command = format!("\"$0\" cache cat {artifact} > copy/{name}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &command, env!("CARGO_BIN_EXE_pipe")]).current_dir(project.path("."));
        assert!(shell.env_remove("PIPE_CACHE").status().unwrap().success(), "{name}");
    }
    assert_eq!(all(&["--model", "copy", "well done"]).expect_code(0).stdout, own);
    std::fs::remove_file(project.path("pipeline.yaml")).unwrap();
    assert_eq!(all(&["--model", "copy", "well done"]).expect_code(0).stdout, own);
    let told = all(&["well done"]).expect_code(2).stderr;
    assert!(told.contains("pipeline.yaml"), "{told}");
}

#[test]
fn the_flag_precision_is_that_of_predict() {
    let project = trained();
    let all = |arguments: &[&str]| {
        let ended = project.pipe(&[&["classify", "--json", "well done"], arguments].concat());
        lines(&ended.expect_code(0).stdout).remove(0)["probabilities"].clone()
    };
    let int8 = all(&["--precision", "int8"]);
    assert_ne!(int8, all(&[]));
    assert_eq!(int8, all(&["--set", "predict.precision=int8"]));
    assert_eq!(int8, all(&["--precision", "int8", "--model", "finetune:model"]));
    let wrong = project.pipe(&["classify", "--precision", "int4", "a"]).expect_code(2).stderr;
    assert!(wrong.contains("int4") && wrong.contains("f32, tf32, bf16, int8"), "{wrong}");
}

#[test]
fn models_and_texts_that_cannot_be_used_are_clear_errors() {
    let project = project_of_epochs(1);
    let told = |arguments: &[&str], code: i32| {
        project.pipe(&[&["classify"], arguments].concat()).expect_code(code).stderr
    };
    let early = told(&["a"], 1);
    assert!(
        early.contains("`finetune:model` does not exist yet") && early.contains("pipe run"),
        "{early}"
    );
    let headless = told(&["--model", "models/small-roberta", "a"], 1);
    assert!(headless.contains("classifying:"), "{headless}");
    let nowhere = told(&["--model", "models/none", "a"], 1);
    assert!(nowhere.contains("opening the model folder `models/none`"), "{nowhere}");
    project.write("bad.jsonl", "{\"response\": 1}\n");
    project.expect_run(&[], ALL_RAN);
    let bad = told(&["--input", "bad.jsonl"], 1);
    assert!(bad.contains("bad.jsonl, line 1"), "{bad}");
    assert!(told(&["--input", "none.jsonl"], 1).contains("none.jsonl"));
}

#[test]
fn the_report_marks_the_tokens_that_led_to_a_mistake() {
    let project = trained();
    let report = |arguments: &[&str]| {
        let all = [&["report", "--json"], arguments].concat();
        project.pipe(&all).expect_code(0).events().remove(0)
    };
    let weighed = report(&[]);
    let spans = |report: &Value| -> Vec<Value> {
        let evaluations = report["runs"][0]["evaluations"].as_array().unwrap();
        let first = &evaluations[0]["wrong"]["examples"][0];
        first["text"].as_array().unwrap().clone()
    };
    let marked = spans(&weighed);
    let weights: Vec<f64> = marked.iter().filter_map(|span| span["weight"].as_f64()).collect();
    assert!(weights.len() > 3, "{marked:?}");
    assert!(weights.iter().any(|weight| *weight != 0.0));
    // The spans together are the original text.
    let text =
        |spans: &[Value]| spans.iter().filter_map(|it| it["text"].as_str()).collect::<String>();
    let plain = spans(&report(&["--no-weights"]));
    assert_eq!((plain.len(), text(&plain)), (1, text(&marked)));
    assert!(plain[0]["weight"].is_null());
}

#[test]
fn a_csv_file_of_three_labels_becomes_a_fine_tuned_classifier_with_a_report() {
    let project = folder();
    project.write("news.csv", &news(","));
    let model = format!("{}/models/small-roberta", env!("CARGO_MANIFEST_DIR"));
    project.pipe(&["init", "--model", &model]).expect_code(0);
    // This model folder has no weights, so `init=auto` draws them at random.
    let set = ["--set", "finetune.epochs=2", "--set", "finetune.init=auto"];
    project.pipe(&[&["run"][..], &set].concat()).expect_code(0);
    let texts = ["classify", "--json", "the goal of the year", "a new soup"];
    let said = lines(&project.pipe(&[&texts[..], &set].concat()).expect_code(0).stdout);
    for row in &said {
        let probabilities = row["probabilities"].as_object().unwrap();
        let names: Vec<&String> = probabilities.keys().collect();
        assert_eq!(names, ["food", "sport", "tech"]);
        let sum: f64 = probabilities.values().filter_map(Value::as_f64).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{row}");
    }
    project.pipe(&["report", "--json"]).expect_code(0);
    project.pipe(&["report"]).expect_code(0);
    let page = project.read("report.html");
    // The report has training curves and a confusion matrix of three labels.
    for part in ["valid_loss", "sport", "Confusion", "Reliability"] {
        assert!(page.contains(part), "{part}");
    }
}

//! `pipe export --hub`: the folder and its card.

#![cfg(feature = "model")]

use std::fs;
use std::path::Path;
use std::process::Command;

use pipe::pipeline::Input;
use pipe::report::card::facts::{CardModel, Made, ModelCard, Setting, Source, Start};
use serde_json::{Value, json};
use stages::data::task::Task;
use stages::model::config::DecisionThreshold;

use crate::harness::Project;
use crate::job::{ALL_RAN, project_of_epochs};

/// The metadata of a card, and what follows it.
#[track_caller]
fn parts(card: &str) -> (Value, &str) {
    let rest = card.strip_prefix("---\n").expect("metadata");
    let (metadata, text) = rest.split_once("\n---\n").expect("an end of the metadata");
    (serde_yaml::from_str(metadata).expect("YAML"), text)
}

fn exported(project: &Project) -> String {
    project.pipe(&["export", "--hub", "out/my-tweets"]).expect_code(0);
    project.read("out/my-tweets/README.md")
}

#[test]
fn a_folder_for_the_hub_has_the_model_and_a_card_from_its_record() {
    let project = project_of_epochs(1);
    project.expect_run(&[], ALL_RAN);
    let told = project.pipe(&["export", "--hub", "out/my-tweets"]).expect_code(0);
    assert_eq!(told.stdout, "hf upload OWNER/my-tweets out/my-tweets\n");
    assert!(told.stderr.contains("names no license"), "{}", told.stderr);
    let weights = fs::read(project.path("out/my-tweets/model.safetensors")).unwrap();
    project.write("made", "");
    let (into, name) = (project.path("made"), "finetune:model/model.safetensors");
    project.pipe_into(into.to_str().unwrap(), &["cache", "cat", name]).expect_code(0);
    assert!(weights == fs::read(project.path("made")).unwrap(), "other weights");
    for file in ["config.json", "vocab.json", "merges.txt"] {
        assert!(project.path("out/my-tweets").join(file).is_file(), "{file}");
    }
    let card = project.read("out/my-tweets/README.md");
    let (metadata, text) = parts(&card);
    assert_eq!(metadata["pipeline_tag"], "text-classification");
    assert_eq!(metadata.get("base_model"), None, "it is not on the hub");
    let scores = project.pipe(&["cache", "cat", "score:scores"]).expect_code(0).stdout;
    let scores: Value = serde_json::from_str(&scores).unwrap();
    let results = metadata["model-index"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for (result, (split, file)) in
        results.iter().zip([("test", "test.jsonl"), ("valid", "train.jsonl")])
    {
        let data = json!({"type": "custom", "name": file, "split": split});
        assert_eq!(result["dataset"], data);
        let accuracy = &result["metrics"][0];
        assert_eq!(
            (&accuracy["type"], &accuracy["value"]),
            (&json!("accuracy"), &scores[split]["accuracy"])
        );
        let [low, high] =
            [0, 1].map(|it| scores[split]["intervals"]["accuracy"][it].as_f64().unwrap());
        let interval = format!("accuracy (95 % interval {low:.3} to {high:.3})");
        assert_eq!(accuracy["name"], interval);
    }
    let start = "trained from random weights, in the shape of `small-roberta`";
    assert!(text.contains(start), "it has no weights: {text}");
    assert!(text.contains("| `finetune.epochs` | `1` |"), "{text}");
    assert!(text.contains("| `ingest.remove` | `[\"@USER\"]` |"), "{text}");
    assert_eq!(text.matches("| data | ").count(), 1, "only what it was trained with: {text}");
}

#[test]
fn the_commands_of_a_card_treat_a_text_as_the_pipeline_does() {
    let project = project_of_epochs(1);
    let with = ["--set", "tokenize.max_length=6"];
    project.expect_run(&with, ALL_RAN);
    let export = ["export", "finetune:model", "--hub", "out/it"];
    project.pipe(&[&export[..], &with].concat()).expect_code(0);
    let card = project.read("out/it/README.md");
    let commands = card.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let classify = commands.split("pipe serve").next().unwrap();
    let text = "@USER what a lovely day it has been for all of us";
    let away = tempfile::tempdir().unwrap();
    copy(&project.path("out/it"), &away.path().join("it"));
    let command = classify.replace("'a text'", &format!("'{text}'"));
    let script = format!("pipe() {{ \"$0\" \"$@\"; }}\n{command}");
    let ran = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_pipe")])
        .current_dir(away.path())
        .env_remove("PIPE_CACHE")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{command}\n{}", String::from_utf8_lossy(&ran.stderr));
    let expected =
        project.pipe(&[&["classify"], &with[..], &[text]].concat()).expect_code(0).stdout;
    assert_eq!(String::from_utf8_lossy(&ran.stdout), expected, "{command}");
}

/// The rows of the table that begin with this name, and the names of the data of each result.
fn told(card: &str, row: &str) -> (Vec<String>, Vec<Value>) {
    let (metadata, text) = parts(card);
    let start = format!("| {row} | ");
    let rows = text.lines().filter_map(|line| line.strip_prefix(&start));
    let names = rows.map(|row| row.split(", `blake3").next().unwrap().to_owned());
    let results = metadata["model-index"][0]["results"].as_array().unwrap();
    (names.collect(), results.iter().map(|it| it["dataset"]["name"].clone()).collect())
}

#[test]
fn a_card_names_the_files_of_a_set_and_only_those_that_are_still_what_was_read() {
    let project = project_of_epochs(1);
    let train = project.read("data/sample/train.jsonl");
    let (first, second) = train.split_at(train[..train.len() / 2].rfind('\n').unwrap() + 1);
    project.write("tr/a.jsonl", first);
    project.write("tr/b.jsonl", second);
    project.write("te/c.jsonl", &project.read("data/sample/test.jsonl"));
    let sets = ["--set", "train=tr/*.jsonl", "--set", "test=te/*.jsonl"];
    project.expect_run(&sets, ALL_RAN);
    let export = |folder: &str| {
        project.pipe(&[&["export", "--hub", folder], &sets[..]].concat()).expect_code(0);
        project.read(&format!("{folder}/README.md"))
    };
    let card = export("out/2026-11-30");
    let (data, results) = told(&card, "data");
    assert_eq!(data, ["`a.jsonl`", "`b.jsonl`"]);
    assert_eq!(results, ["c.jsonl", "a.jsonl, b.jsonl"]);
    // YAML 1.1 has dates.
    assert!(card.contains("- name: \"2026-11-30\"\n"), "{card}");
    project.write("tr/a.jsonl", second);
    let card = export("out/later");
    assert_eq!(told(&card, "data").0, ["`unknown`", "`b.jsonl`"]);
}

#[test]
fn a_card_tells_of_the_pretraining_before_and_its_commands_do_not() {
    let project = project_of_epochs(1);
    let (first, second) = ("  ingest:\n", "model: \"${model}\"");
    let pipeline = project.read("pipeline.yaml");
    assert!(pipeline.contains(first) && pipeline.matches(second).count() == 2);
    let before = "  corpus:\n    uses: ingest\n    inputs: {train: corpus.jsonl}\n    \
                  params: {strip: [links]}\n  \
                  train-tokenizer:\n    inputs: {text: corpus:train}\n    params: {vocab_size: 300}\n  \
                  pretrain:\n    inputs: {text: corpus:train, tokenizer: train-tokenizer:tokenizer}\n    \
                  params: {layers: 1, hidden: 32, heads: 2, steps: 2, batch_tokens: 256}\n  \
                  passed:\n    run: cp -r \"$IN_model\" \"$OUT_model\"\n    \
                  inputs: {model: finetune:model}\n    outputs: [model]\n";
    let pipeline = pipeline.replace(second, "model: pretrain:model");
    project.write("pipeline.yaml", &pipeline.replace(first, &format!("{before}{first}")));
    let sample = project.read("data/sample/train.jsonl");
    project.write("corpus.jsonl", &sample.lines().take(200).collect::<Vec<_>>().join("\n"));
    project.run(&[]).expect_code(0);
    for (model, folder) in [("finetune:model", "out/it"), ("passed:model", "out/passed")] {
        project.pipe(&["export", model, "--hub", folder]).expect_code(0);
        let card = project.read(&format!("{folder}/README.md"));
        assert!(card.contains("It was trained from random weights.\n"), "{card}");
        assert_eq!(told(&card, "data").0, ["`corpus.jsonl`", "`train.jsonl`"]);
        assert!(card.contains("| `corpus.strip` | `[\"links\"]` |"), "{card}");
        let commands = card.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
        assert!(commands.contains("ingest.remove"), "{commands}");
        assert!(!commands.contains("strip"), "{commands}");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_folder_with_something_in_it_is_left_alone_and_a_folder_as_model_has_no_figures() {
    let project = project_of_epochs(1);
    project.expect_run(&[], ALL_RAN);
    exported(&project);
    let before = project.read("out/my-tweets/README.md");
    let refused = project.pipe(&["export", "--hub", "out/my-tweets"]).expect_code(2).stderr;
    assert!(refused.contains("`out/my-tweets` is not an empty folder"), "{refused}");
    assert_eq!(project.read("out/my-tweets/README.md"), before);
    project.write("out/file", "mine");
    project.pipe(&["export", "--hub", "out/file"]).expect_code(2);
    assert_eq!(project.read("out/file"), "mine");
    let again = project.pipe(&["export", "out/my-tweets", "--hub", "out/a gain"]).expect_code(0);
    assert_eq!(again.stdout, "hf upload OWNER/a-gain 'out/a gain'\n");
    assert!(again.stderr.contains("there is no record of this model"), "{}", again.stderr);
    let card = project.read("out/a gain/README.md");
    assert_eq!(parts(&card).0.get("model-index"), None);
    assert!(card.contains("No figures are on record."), "{card}");
    let left: Vec<_> = fs::read_dir(project.path("out")).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
    // The folder is complete when the command to upload it is printed.
    project.write("graph.onnx", "mine");
    let both = ["export", "--hub", "out/both", "--onnx", "graph.onnx"];
    assert_eq!(project.pipe(&both).expect_code(2).stdout, "");
    let missing =
        project.pipe(&["export", "finetun:model", "--hub", "out/x"]).expect_code(2).stderr;
    assert!(missing.contains("did you mean `finetune`?"), "{missing}");
}

#[test]
fn names_cannot_break_a_card_and_what_is_on_the_hub_is_linked() {
    let hub =
        |repository: &str| Input::Hub { repository: repository.into(), revision: "main".into() };
    let file = |repository: &str, name: &str| Input::HubData {
        repository: repository.into(),
        revision: "main".into(),
        path: format!("data/{name}.parquet"),
    };
    // Two files of one data set, with another one between them.
    let data =
        [file("owner/tweets", "train"), file("owner/more", "train"), file("owner/tweets", "valid")];
    let source = |origin| Source { origin: Some(origin), digest: "blake3:00".into() };
    let setting = Setting {
        key: "ingest.remove".into(),
        builtin: "ingest".into(),
        value: json!(["it's | <b>"]),
        is_default: false,
        is_earlier: false,
    };
    let card = ModelCard {
        name: "my-tweets".into(),
        model: CardModel {
            task: Task::Single,
            labels: vec!["no | `x`\n---\n<b>".into(), "yes".into()],
            threshold: Some(DecisionThreshold { value: 0.25, class: 1 }),
            thresholds: Vec::new(),
            windows: None,
        },
        made: Some(Made {
            stage: "finetune version 5".into(),
            pipe: "0.1.0".into(),
            day: "2026-11-29".into(),
            seconds: 1.0,
            device: None,
            start: Some(Start::Model(source(hub("owner/base")))),
            data: data.map(source).into(),
            settings: vec![setting],
        }),
        scored: Vec::new(),
    };
    let card = card.markdown();
    let (metadata, text) = parts(&card);
    assert_eq!(metadata["base_model"], "owner/base");
    assert_eq!(metadata["datasets"], json!(["owner/tweets", "owner/more"]));
    assert!(!text.contains("\n---\n"), "{text}");
    assert!(text.contains(r"`no | 'x'\n---\n<b>`, `yes`"), "{text}");
    assert!(text.contains(r#"| `ingest.remove` | `["it's \| <b>"]` |"#), "{text}");
    assert!(text.contains("[owner/base](https://huggingface.co/owner/base)"), "{text}");
    assert!(text.contains("`train.parquet` of [owner/tweets]"), "{text}");
    assert!(text.contains("if its probability is above 0.25"), "{text}");
    assert!(text.contains(r#"--set 'ingest.remove=["it'\''s | <b>"]'"#), "{text}");
}

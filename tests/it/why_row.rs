//! `pipe why-row`: an answer traced back to its source, and to results that disagree.

use serde_json::Value;

use crate::harness::Project;

const PIPELINE: &str = r#"
stages:
  ingest:
    inputs: {train: train.jsonl, test: test.jsonl}
    params: {remove: ["@USER"]}
  split: {inputs: {examples: ingest:train}, params: {share: 0.5}}
  tokenize:
    inputs: {train: split:train, valid: split:valid, test: ingest:test, model: ROOT/models/small-roberta}
  baseline:
    inputs: {train: split:train, valid: split:valid, test: ingest:test}
    params: {char_ngrams: 0, context: 0}
"#;

/// Rows whose label is `yes` if they contain `good`, and one that no model could predict.
fn project() -> Project {
    project_of(PIPELINE)
}

fn project_of(pipeline: &str) -> Project {
    let project = Project::new(&pipeline.replace("ROOT", env!("CARGO_MANIFEST_DIR")));
    let row = |index: usize| {
        let (word, label) = [("good", "yes"), ("bad", "no")][index % 2];
        let text = format!("@USER {word} {index}");
        serde_json::json!({"id": format!("t{index}"), "label": label, "response": text}).to_string()
    };
    project.write("train.jsonl", &(0..40).map(|index| row(index) + "\n").collect::<String>());
    let odd = r#"{"id":"odd","label":"yes","response":"bad <b> bad","context":["one","two"]}"#;
    project.write("test.jsonl", &format!("\n{}\n{odd}\n", row(50)));
    project.run(&[]).expect_code(0);
    project
}

#[test]
fn an_answer_is_traced_to_its_line_its_tokens_and_its_probabilities() {
    let project = project();
    let why = project.pipe(&["why-row", "odd", "--json"]).expect_code(0).events().remove(0);
    let found = &why["example"];
    assert_eq!((&found["line"], &found["artifact"]), (&3.into(), &"ingest:test".into()));
    assert_eq!(found["text"], "bad <b> bad");
    assert!(found["file"].as_str().unwrap().ends_with("/test.jsonl"));
    let texts: Vec<&str> =
        why["tokens"][0]["texts"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!((texts[0], *texts.last().unwrap()), ("<s>", "</s>"));
    assert_eq!(texts.len(), why["tokens"][0]["ids"].as_array().unwrap().len());
    let said = &why["said"][0];
    assert_eq!((&said["label"], &said["gold"]), (&"no".into(), &"yes".into()));
    assert_eq!(why["others"], 0);
    let text = project.pipe(&["why-row", "odd"]).expect_code(0).stdout;
    for part in
        ["context   · one", "          · two", "test.jsonl, line 3", "but it is yes", "<s> "]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn the_part_of_a_training_row_is_told() {
    let project = project();
    let part = |id: &str| {
        let why = project.pipe(&["why-row", id, "--json"]).expect_code(0).events().remove(0);
        why["part"].as_str().unwrap().to_owned()
    };
    let parts: Vec<String> = (0..40).map(|row| part(&format!("t{row}"))).collect();
    assert_eq!(parts.iter().filter(|part| *part == "split:train").count(), 20);
    assert_eq!(parts.iter().filter(|part| *part == "split:valid").count(), 20);
}

#[test]
fn results_that_say_another_label_are_listed_with_their_run() {
    let project = project();
    // The labels are swapped, so the other result disagrees about every row.
    let turned = project.read("train.jsonl").replace("yes", "_").replace("no", "yes");
    project.write("turned.jsonl", &turned.replace('_', "no"));
    project.run(&["--set", "ingest.inputs.train=turned.jsonl"]).expect_code(0);
    project.run(&["--set", "baseline.c=2"]).expect_code(0);
    let why = project.pipe(&["why-row", "odd", "--json"]).expect_code(0).events().remove(0);
    assert_eq!(why["others"], 2);
    let disagreeing = why["disagreeing"].as_array().unwrap();
    assert_eq!(disagreeing.len(), 1);
    assert_eq!(
        (&disagreeing[0]["stage"], &disagreeing[0]["label"]),
        (&"baseline".into(), &"yes".into())
    );
    let runs = project.pipe(&["log", "--json"]).expect_code(0).events();
    assert_eq!(disagreeing[0]["run"], runs[1]["id"]);
    let text = project.pipe(&["why-row", "odd"]).expect_code(0).stdout;
    assert!(text.contains("2 other results in the store, 1 of them disagree:"), "{text}");
}

#[test]
fn an_id_that_nothing_has_is_refused() {
    let project = project();
    let told = project.pipe(&["why-row", "od"]).expect_code(2).stderr;
    assert!(told.contains("contains the example `od`") && told.contains("ingest:test"), "{told}");
}

#[test]
fn each_window_of_a_long_text_is_shown() {
    let windows = "params: {max_length: 6, window_stride: 1}";
    let text = PIPELINE.replace("small-roberta}\n", &format!("small-roberta}}\n    {windows}\n"));
    let project = project_of(&text);
    let why = project.pipe(&["why-row", "odd", "--json"]).expect_code(0).events().remove(0);
    let windows = why["tokens"].as_array().unwrap();
    assert!(windows.len() > 1, "{windows:?}");
    for (number, window) in (1..).zip(windows) {
        assert_eq!(window["window"], serde_json::json!({"number": number, "of": windows.len()}));
        assert_eq!(
            (&window["texts"][0], &window["artifact"]),
            (&"<s>".into(), &"tokenize:test".into())
        );
    }
    let text = project.pipe(&["why-row", "odd"]).expect_code(0).stdout;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains(&format!("(6 tokens, window 1 of {}, tokenize:test)", windows.len())),
        "{text}"
    );
}

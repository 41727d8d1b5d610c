//! `pipe classify` with a tiny model in a folder: texts from every source, in every shape.

#![cfg(feature = "model")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Ended, Project};

/// A folder without a pipeline, with a model that knows the letters, `the`, `good` and `bad`.
fn folder() -> Project {
    let project = Project::new("");
    fs::remove_file(project.path("pipeline.yaml")).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("stages/tests/fixtures/model/bert");
    let config = fs::read_to_string(fixture.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["id2label"] = json!({"0": "no", "1": "yes"});
    config["label2id"] = json!({"no": 0, "yes": 1});
    project.write("model/config.json", &config.to_string());
    fs::copy(fixture.join("model.safetensors"), project.path("model/model.safetensors")).unwrap();
    let letters = || ('a'..='z').map(String::from);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "good", "bad"];
    let words = special.map(str::to_owned).into_iter().chain(letters());
    let words: Vec<String> = words.chain(letters().map(|it| format!("##{it}"))).collect();
    project.write("model/vocab.txt", &(words.join("\n") + "\n"));
    project
}

const CLASSIFY: [&str; 4] = ["classify", "--json", "--model", "model"];

fn with<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&CLASSIFY[..], arguments].concat()
}

/// The text, the label and the rounded probability of each row: other batches round differently.
type Answer = (String, Value, i64);

#[track_caller]
fn answers(ended: &Ended) -> Vec<Answer> {
    let probability = |row: &Value| row["probabilities"]["yes"].as_f64().unwrap_or(-1.0);
    let row = |row: Value| {
        let text = row["text"].as_str().unwrap().trim_end().to_owned();
        (text, row["label"].clone(), (probability(&row) * 1e5).round() as i64)
    };
    ended.events().into_iter().map(row).collect()
}

#[test]
fn every_source_gives_the_same_answers() {
    let project = folder();
    let texts = ["the good", "bad", "the bad cat  ", "good"];
    let given = answers(&project.pipe(&with(&texts)).expect_code(0));
    assert_eq!(given.len(), 4);
    let lines = texts.join("\n") + "\n";
    let rows = |text: &str| json!({"response": text, "id": 7}).to_string() + "\n";
    let jsonl: String = texts.iter().map(|text| rows(text)).collect();
    let csv = format!("id,response\n{}", texts.map(|text| format!("7,{text}\n")).concat());
    project.write("texts.txt", &lines);
    project.write("windows.txt", &format!("\u{feff}{}", lines.replace('\n', "\r\n")));
    project.write("texts.jsonl", &jsonl);
    project.write("texts.csv", &csv);
    project.write("json.txt", &jsonl);
    for file in ["texts.txt", "windows.txt", "texts.jsonl", "texts.csv", "json.txt"] {
        let ended = project.pipe(&with(&["--input", file])).expect_code(0);
        assert_eq!(answers(&ended), given, "{file}");
    }
    for (bytes, arguments) in [
        (&lines, &[][..]),
        (&lines, &["--input", "-"]),
        (&lines, &["--input", "/dev/stdin"]),
        (&lines, &["--format", "plain"]),
        (&jsonl, &[]),
        (&jsonl, &["--input", "-"]),
        (&jsonl, &["--input", "-", "--format", "fields"]),
        (&csv, &["--format", "fields"]),
    ] {
        let ended = project.pipe_fed(bytes.as_bytes(), &with(arguments)).expect_code(0);
        assert_eq!(answers(&ended), given, "{arguments:?}");
        assert_eq!(ended.stderr, "");
    }
    let csv = project.pipe_fed(csv.as_bytes(), &with(&[])).expect_code(0);
    assert_eq!(csv.events().len(), 5);
    assert!(csv.stderr.contains("`--format fields` reads CSV"), "{}", csv.stderr);
}

#[test]
fn a_blank_line_keeps_its_place_and_has_no_label() {
    let project = folder();
    let lines = "\ngood\n\n \t\nbad";
    project.write("texts.txt", lines);
    for ended in [
        project.pipe(&with(&["--input", "texts.txt"])),
        project.pipe_fed(lines.as_bytes(), &with(&[])),
        project.pipe(&with(&["", "good", "", "   ", "bad"])),
    ] {
        let rows = ended.expect_code(0).events();
        let labels: Vec<bool> = rows.iter().map(|row| row["label"].is_string()).collect();
        assert_eq!(labels, [false, true, false, false, true]);
        assert_eq!(rows[0], json!({"text": "", "label": null, "probabilities": null}));
    }
    let plain = project.pipe_fed(lines.as_bytes(), &["classify", "--model", "model"]);
    let ends: Vec<&str> =
        plain.stdout.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(ends, ["", "good", "", "", "bad"]);
    // A row with an empty text is a row of the pipeline: it has an answer there too.
    let row = project.pipe_fed(b"{\"response\": \"\"}\n", &with(&[])).expect_code(0);
    assert!(row.events()[0]["label"].is_string());
}

#[test]
fn bytes_that_are_no_text_and_overlong_lines_are_the_same_error_from_every_source() {
    let project = folder();
    let long = vec![b'a'; (16 << 20) + 2];
    for (bad, problem) in [
        (&b"b\xffd"[..], "line 2: expected UTF-8, found the byte 0xff at byte 2"),
        (&long[..], "line 2: longer than 16 MiB"),
    ] {
        let bytes = [b"good\n", bad, b"\nbad\n"].concat();
        fs::write(project.path("texts.txt"), &bytes).unwrap();
        for ended in [
            project.pipe(&with(&["--input", "texts.txt"])),
            project.pipe_fed(&bytes, &with(&[])),
            project.pipe_fed(&bytes, &with(&["--input", "-"])),
        ] {
            let ended = ended.expect_code(1);
            assert!(ended.stderr.contains(problem), "{}", ended.stderr);
            // What stands before is answered, and the error is one more object.
            let [answer, error] = &ended.events()[..] else { panic!("{}", ended.stdout) };
            assert_eq!(answer["text"], "good");
            assert!(error["message"].as_str().unwrap().ends_with(problem), "{error}");
        }
    }
}

#[test]
fn a_line_is_answered_before_the_next_one_is_written() {
    let project = folder();
    let (mut stdin, mut running) = project.converse(&with(&[]));
    for text in ["good", "the bad", "", "bad"] {
        writeln!(stdin, "{text}").unwrap();
        assert!(running.read_line());
        assert_eq!(running.seen.last().unwrap()["text"], text);
    }
    write!(stdin, "the go").unwrap();
    write!(stdin, "od").unwrap();
    drop(stdin);
    let ended = running.end().expect_code(0);
    assert_eq!(ended.events()[4]["text"], "the good");
}

#[test]
fn it_stops_when_its_reader_is_gone() {
    let project = folder();
    // The source has no end: only the limit of time would end a program that does not stop.
    let script = "yes good | timeout 60 \"$0\" classify --model model | head -1; \
                  exit ${PIPESTATUS[1]}";
    let mut command = Command::new("bash");
    command.args(["-c", script, env!("CARGO_BIN_EXE_pipe")]).current_dir(project.path(""));
    let ended = command.env_remove("PIPE_CACHE").stdin(Stdio::null()).output().unwrap();
    let ended = Ended::of(ended).expect_code(0);
    assert_eq!((ended.stdout.lines().count(), ended.stderr.as_str()), (1, ""));
}

#[test]
fn a_model_folder_needs_neither_a_pipeline_nor_its_data() {
    let project = folder();
    let alone = answers(&project.pipe(&with(&["the good"])).expect_code(0));
    let limited = ["--set", "tokenize.max_length=3", "the good"];
    let limited = answers(&project.pipe(&with(&limited)).expect_code(0));
    assert_ne!(limited, alone);
    // A pipeline says how texts are tokenized, though its sources are gone.
    project.write(
        "pipeline.yaml",
        "stages:\n  ingest: {inputs: {train: t.jsonl}}\n  tokenize: {inputs: {model: encoder, \
         train: ingest:train}, params: {max_length: 3}}\n",
    );
    let of_pipeline = project.pipe(&with(&["the good"])).expect_code(0);
    assert!(!of_pipeline.stderr.contains("warning"), "{}", of_pipeline.stderr);
    assert_eq!(answers(&of_pipeline), limited);
    // An invalid pipeline is left out with a warning, but not if something of it is named.
    project.write("pipeline.yaml", "stages: {a: {rum: x}}\n");
    let invalid = project.pipe(&with(&["the good"])).expect_code(0);
    assert!(invalid.stderr.contains("warning: the pipeline is invalid"), "{}", invalid.stderr);
    assert_eq!(answers(&invalid), alone);
    project.pipe(&with(&["--set", "tokenize.max_length=3", "a"])).expect_code(2);
    project.pipe(&with(&["--file", "pipeline.yaml", "a"])).expect_code(2);
    project.pipe(&with(&["--file", "none.yaml", "a"])).expect_code(2);
}

#[test]
fn texts_that_were_cut_are_counted_on_the_screen() {
    let project = folder();
    let limited = with(&["--set", "tokenize.max_length=3", "the good", "bad", ""]);
    let told = project.pipe(&limited).expect_code(0).stderr;
    assert_eq!(told, "1 of 3 texts (33.3%) were cut to `max_length` (3 tokens)\n");
}

#[test]
fn overrides_without_a_pipeline_are_checked() {
    let project = folder();
    let typo = project.pipe(&with(&["--set", "tokenize.max_lenght=3", "a"])).expect_code(2);
    assert!(typo.stderr.contains("did you mean `max_length`?"), "{}", typo.stderr);
    project.pipe(&with(&["--set", "finetune.epochs=3", "a"])).expect_code(2);
    project.pipe(&with(&["--profile", "quick", "a"])).expect_code(2);
    project.write("texts.jsonl", "{\"tweet\": \"good\"}\n");
    let named = ["--input", "texts.jsonl", "--set", "ingest.text_field=tweet"];
    assert_eq!(project.pipe(&with(&named)).expect_code(0).events()[0]["text"], "good");
}

#[test]
fn a_context_is_used_or_refused() {
    let project = folder();
    let alone = answers(&project.pipe(&with(&["the good"])).expect_code(0));
    let context = ["--context", "bad", "--context", "a b", "the good"];
    let whole = answers(&project.pipe(&with(&context)).expect_code(0));
    assert_ne!(whole, alone);
    let last = answers(&project.pipe(&with(&["--context", "a b", "the good"])).expect_code(0));
    assert_ne!(whole, last);
    let row = json!({"response": "the good", "context": ["bad", "a b"]}).to_string();
    let row = project.pipe_fed(row.as_bytes(), &with(&[])).expect_code(0);
    assert_eq!(answers(&row), whole);
    let limited = [&["--set", "tokenize.context=1"], &context[..]].concat();
    let limited = project.pipe(&with(&limited)).expect_code(0);
    assert!(limited.stderr.contains("reads the last 1 of 2 turns"), "{}", limited.stderr);
    assert_eq!(answers(&limited), last);
    let refused = [&["--set", "tokenize.context=0"], &context[..]].concat();
    let refused = project.pipe(&with(&refused)).expect_code(2);
    assert!(refused.stderr.contains("the model would not see the context"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: leave `--context` out"), "{}", refused.stderr);
}

#[test]
fn a_model_of_windows_divides_long_texts_without_any_pipeline() {
    let project = folder();
    let long = "the good bad ".repeat(9);
    let config = fs::read_to_string(project.path("model/config.json")).unwrap();
    let given = ["--set", "tokenize.max_length=8", "--set", "tokenize.window_stride=2", &long];
    let windows = project.pipe(&with(&given)).expect_code(0);
    assert!(!windows.stderr.contains("cut"), "{}", windows.stderr);
    let cut = project.pipe(&with(&["--set", "tokenize.max_length=8", &long])).expect_code(0);
    assert!(cut.stderr.contains("1 of 1 texts"), "{}", cut.stderr);
    assert_ne!(answers(&cut), answers(&windows));
    let mut raw: Value = serde_json::from_str(&config).unwrap();
    (raw["window_length"], raw["window_stride"]) = (json!(8), json!(2));
    project.write("model/config.json", &raw.to_string());
    let remembered = project.pipe(&with(&[&long])).expect_code(0);
    assert_eq!(answers(&remembered), answers(&windows));
    let larger = ["--set", "tokenize.max_length=20", &long];
    let larger = answers(&project.pipe(&with(&larger)).expect_code(0));
    assert_ne!(larger, answers(&windows), "what the user gives comes first");
}

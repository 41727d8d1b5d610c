//! The key, row by row of the table in the crate's documentation: what enters the key changes it,
//! and nothing else does.

use std::collections::BTreeMap;
use std::time::Duration;

use pipe::files::digest::{Content, Digest};
use pipe::pipeline::{Action, Handling, Input, Output, Overrides, Pipeline, Stage};
use pipe::store::key::{Key, KeyFields};
use serde_json::{Value, json};

use crate::harness::Project;

fn stage() -> Stage {
    let output = |name: &str| Output { name: name.to_owned(), file: name.to_owned(), kind: None };
    Stage {
        name: "split".to_owned(),
        line: 3,
        action: Action::Builtin { name: "split".to_owned(), version: 1 },
        inputs: BTreeMap::from([("examples".to_owned(), Input::Path("/data/a".into()))]),
        params: BTreeMap::from([("share".to_owned(), json!(0.9)), ("seed".to_owned(), json!(42))]),
        outputs: vec![output("train"), output("valid")],
        publish: BTreeMap::new(),
        env: Vec::new(),
        salt: None,
        handling: Handling::default(),
    }
}

fn content(text: &str) -> Content {
    Content::file(Digest::of_bytes(text.as_bytes()))
}

fn key(stage: &Stage) -> Key {
    key_with(stage, &[("examples", content("bytes"))])
}

fn key_with(stage: &Stage, inputs: &[(&str, Content)]) -> Key {
    let inputs = inputs.iter().map(|(name, content)| ((*name).to_owned(), *content));
    KeyFields::of(stage, inputs.collect()).key()
}

/// The key after a change to the stage.
fn changed(change: impl FnOnce(&mut Stage)) -> Key {
    let mut stage = stage();
    change(&mut stage);
    key(&stage)
}

#[test]
fn the_built_in_and_its_version_enter() {
    let other =
        changed(|stage| stage.action = Action::Builtin { name: "ingest".into(), version: 1 });
    let newer =
        changed(|stage| stage.action = Action::Builtin { name: "split".into(), version: 2 });
    assert_ne!(other, key(&stage()));
    assert_ne!(newer, key(&stage()));
}

#[test]
fn the_text_of_a_command_enters_and_is_no_built_in() {
    let command =
        |text: &str| changed(|stage| stage.action = Action::Command { text: text.into() });
    assert_ne!(command("sort"), command("sort "));
    assert_ne!(command("split"), key(&stage()));
}

#[test]
fn the_name_and_the_line_of_the_stage_do_not_enter() {
    assert_eq!(changed(|stage| stage.name = "other".into()), key(&stage()));
    assert_eq!(changed(|stage| stage.line = 99), key(&stage()));
}

#[test]
fn parameters_enter_by_name_and_value() {
    let set =
        |name: &str, value: Value| changed(|stage| drop(stage.params.insert(name.into(), value)));
    assert_ne!(set("share", json!(0.8)), key(&stage()));
    assert_ne!(set("share", json!("0.9")), key(&stage()));
    assert_ne!(set("another", json!(null)), key(&stage()));
    assert_ne!(changed(|stage| drop(stage.params.remove("seed"))), key(&stage()));
    assert_eq!(set("share", json!(0.90)), key(&stage()));
}

#[test]
fn a_default_is_the_same_whether_it_is_written_or_not() {
    let of = |params: &str| {
        let project = Project::new(&format!(
            "stages:\n  split: {{inputs: {{examples: t.jsonl}}, params: {{{params}}}}}\n"
        ));
        project.write("t.jsonl", "");
        let file = project.path("pipeline.yaml");
        let pipeline = Pipeline::load(&file, &Overrides::default()).unwrap();
        key(&pipeline.stages[0])
    };
    let share = stages::find("split").unwrap().params().iter().find(|spec| spec.name == "share");
    let default = share.unwrap().default.value().unwrap();
    assert_eq!(of(&format!("share: {default}")), of(""));
    assert_ne!(of("share: 0.5"), of(""));
}

#[test]
fn a_late_parameter_enters_only_with_another_value_than_its_default() {
    let late = stages::find("ingest").unwrap().params().iter().filter(|spec| spec.late);
    assert!(late.count() > 0);
    let mut ingest = stage();
    let action = Action::Builtin { name: "ingest".to_owned(), version: 2 };
    ingest.action = action;
    let with = |task: &str| {
        let mut stage = ingest.clone();
        stage.params.insert("task".into(), json!(task));
        key(&stage)
    };
    assert_eq!(with("single"), key(&ingest));
    assert_ne!(with("multi"), key(&ingest));
    // A record has the parameters of its key; what reads them gets the default back.
    let specs = stages::find("ingest").unwrap().params();
    let read = stages::Params::from_key(specs, BTreeMap::new());
    assert_eq!(read.text("task"), "single");
}

#[test]
fn the_order_of_keys_inside_a_parameter_does_not_enter() {
    let map = |text: &str| {
        changed(|stage| {
            drop(stage.params.insert("map".into(), serde_json::from_str(text).unwrap()))
        })
    };
    assert_eq!(
        map(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#),
        map(r#"{"b": {"d": 3, "c": 2}, "a": 1}"#)
    );
    assert_ne!(map(r#"{"a": [1, 2]}"#), map(r#"{"a": [2, 1]}"#));
}

#[test]
fn inputs_enter_by_name_and_digest_not_by_path() {
    let stage = stage();
    let (bytes, other) = (content("bytes"), content("other"));
    let now = key(&stage);
    assert_ne!(key_with(&stage, &[("examples", other)]), now);
    assert_ne!(key_with(&stage, &[("text", bytes)]), now);
    assert_ne!(key_with(&stage, &[("examples", bytes), ("more", bytes)]), now);
    assert_ne!(key_with(&stage, &[]), now);
    let moved =
        changed(|stage| drop(stage.inputs.insert("examples".into(), Input::Path("/b".into()))));
    assert_eq!(moved, now);
}

#[test]
fn a_file_and_a_folder_of_the_same_digest_are_two_inputs() {
    let digest = Digest::of_bytes(b"tree");
    let key_of = |content| key_with(&stage(), &[("examples", content)]);
    assert_ne!(key_of(Content::file(digest)), key_of(Content::folder(digest)));
}

#[test]
fn names_of_outputs_enter_but_neither_their_order_nor_where_they_are_published() {
    assert_ne!(changed(|stage| drop(stage.outputs.pop())), key(&stage()));
    assert_ne!(changed(|stage| stage.outputs[0].name = "other".into()), key(&stage()));
    assert_eq!(changed(|stage| stage.outputs.reverse()), key(&stage()));
    let publish = |stage: &mut Stage| drop(stage.publish.insert("train".into(), "t.jsonl".into()));
    assert_eq!(changed(publish), key(&stage()));
}

#[test]
fn declared_variables_enter_and_the_rest_of_the_environment_does_not() {
    // `PATH` is set in every test, the other variable in none.
    let declare = |names: &[&str]| {
        changed(|stage| stage.env = names.iter().map(|name| (*name).to_owned()).collect())
    };
    assert_ne!(declare(&["PATH"]), key(&stage()));
    assert_ne!(declare(&["PIPE_TEST_NOT_SET"]), key(&stage()));
    assert_ne!(declare(&["PATH"]), declare(&["PIPE_TEST_NOT_SET"]));
    assert_eq!(declare(&["PATH", "HOME"]), declare(&["HOME", "PATH"]));
}

#[test]
fn the_salt_enters() {
    let salted = |salt: &str| changed(|stage| stage.salt = Some(salt.to_owned()));
    assert_ne!(salted("1"), key(&stage()));
    assert_ne!(salted("1"), salted("2"));
}

#[test]
fn comments_and_the_order_of_keys_in_the_file_do_not_enter() {
    let load = |yaml: &str| {
        let project = Project::new(yaml);
        let pipeline =
            Pipeline::load(&project.path("pipeline.yaml"), &Overrides::default()).unwrap();
        key_with(&pipeline.stages[0], &[])
    };
    let plain = "stages:\n  a:\n    run: sort\n    params: {x: 0.1, y: 2}\n    outputs: [o, p]\n";
    let other = "# a comment\nstages:\n  b: # another name\n    outputs:\n      - p\n      - o\n    params:\n      y: 2\n      x: 0.10\n    run: sort\n";
    assert_eq!(load(plain), load(other));
    assert_ne!(load(plain), load(&plain.replace("y: 2", "y: 3")));
}

#[test]
fn how_a_stage_is_handled_does_not_enter() {
    let handled = |change: fn(&mut Handling)| changed(|stage| change(&mut stage.handling));
    for key_then in [
        handled(|handling| handling.frozen = true),
        handled(|handling| handling.always = true),
        handled(|handling| handling.retries = 3),
        handled(|handling| handling.timeout = Some(Duration::from_secs(60))),
        handled(|handling| handling.resources = BTreeMap::from([("gpu".to_owned(), 1)])),
    ] {
        assert_eq!(key_then, key(&stage()));
    }
    // The same with the binary.
    let yaml = "stages:\n  a:\n    run: echo 1 > $OUT_x\n    outputs: [x]\n";
    let project = Project::new(yaml);
    project.expect_run(&[], "a=ran");
    for line in ["frozen: true", "retries: 3", "timeout: 30m", "resources: {gpu: 1}"] {
        project.write("pipeline.yaml", &format!("{yaml}    {line}\n"));
        project.expect_run(&[], "a=hit");
    }
    project.expect_run(&["--resource", "gpu=2"], "a=hit");
}

#[test]
fn where_and_how_a_stage_runs_does_not_enter() {
    let project = Project::new("stages:\n  a: {run: 'echo 1 > $OUT_x', outputs: [x]}\n");
    project.expect_run(&["--jobs", "1", "--device", "cpu", "--threads", "1"], "a=ran");
    project.expect_run(&["--jobs", "3", "--device", "cuda:1", "--threads", "2"], "a=hit");
    project.expect_run(&["--keep-going", "--offline", "--no-index"], "a=hit");
    project.expect_run(&["--quiet"], "a=hit");
    project.expect_run(&["--verbose"], "a=hit");
    assert!(project.pipe_with(&["status"], &[("UNDECLARED", "1")]).stdout.contains("up to date"));
}

#[test]
fn the_path_and_the_times_of_a_source_do_not_enter() {
    let yaml = "stages:\n  a: {run: 'cat $IN_t > $OUT_x', inputs: {t: one.txt}, outputs: [x]}\n";
    let project = Project::new(yaml);
    project.write("one.txt", "text\n");
    project.expect_run(&[], "a=ran");
    // Writing the same bytes again gives the file new times.
    project.write("one.txt", "text\n");
    project.expect_run(&[], "a=hit");
    project.write("elsewhere/two.txt", "text\n");
    project.write("pipeline.yaml", &yaml.replace("one.txt", "elsewhere/two.txt"));
    project.expect_run(&[], "a=hit");
}

/// Keys stay on disks for years, so the text that is hashed must not change by accident.
#[test]
fn the_canonical_form_is_the_one_that_was_published() {
    let fields = KeyFields::of(&stage(), BTreeMap::from([("examples".into(), content("bytes"))]));
    let expected = concat!(
        "pipe key 1\n",
        r#"{"action":{"builtin":{"name":"split","version":1}},"env":{},"#,
        r#""inputs":{"examples":"file:"#,
        "df19b1f105ff929191ce49d0bbfdc5b4edc2a71a40f502dc955359eb33649e24",
        r#""},"outputs":["train","valid"],"params":{"seed":42,"share":0.9},"salt":null}"#,
    );
    assert_eq!(fields.canonical(), expected);
}

#[test]
fn a_number_comes_back_from_a_record_as_it_was() {
    let project = crate::harness::Project::new(
        "stages:\n  a: {run: 'echo $PARAM_n > $OUT_x', params: {n: 9999999999999999999999999999999999999999999999999999999999990.001}, outputs: [x]}\n",
    );
    project.run(&[]).expect_code(0);
    project.run(&["--set", "a.n=1"]).expect_code(0);
    // With a new salt, only the salt has changed.
    let yaml = project.read("pipeline.yaml").replace("outputs:", "salt: s, outputs:");
    project.write("pipeline.yaml", &yaml);
    let why = project.pipe(&["explain", "a", "--json"]).expect_code(0).stdout;
    assert!(!why.contains("\"param\""), "{why}");
    assert!(why.contains("\"salt\""), "{why}");
}

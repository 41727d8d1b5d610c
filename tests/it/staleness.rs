//! What makes a stage stale and what does not, as the user sees it. `key.rs` tests the key field by
//! field.

use std::fs;

use pipe::store::record::Record;

use crate::harness::Project;

const PIPELINE: &str = r#"
stages:
  a:
    run: echo a >> ran.log; sort "$IN_text" > "$OUT_x"
    inputs: {text: text.txt}
    params: {rate: 0.1, more: {x: 1, y: [1, 2]}}
    outputs: [x]
  b:
    run: echo b >> ran.log; cat "$IN_x" > "$OUT_x"
    inputs: {x: a:x}
    outputs: [x]
  c:
    run: echo c >> ran.log; cat "$IN_x" > "$OUT_x"
    inputs: {x: b:x}
    outputs: [x]
"#;

fn after_run() -> Project {
    let project = Project::new(PIPELINE);
    project.write("text.txt", "2\n1\n");
    project.run(&[]).expect_code(0);
    project.take_log();
    project
}

#[track_caller]
fn sentence(project: &Project, stage: &str) -> String {
    let explain = project.pipe(&["explain", "--json", stage]).expect_code(0);
    explain.about("stage_planned", stage)["sentence"].as_str().unwrap().to_owned()
}

#[test]
fn a_removed_parameter_is_a_change() {
    let project = after_run();
    project.write("pipeline.yaml", &PIPELINE.replace("{rate: 0.1, more:", "{more:"));
    assert_eq!(sentence(&project, "a"), "rate removed (was 0.1)");
    project.expect_run(&[], "a=ran b=hit c=hit");
}

#[test]
fn a_change_that_cannot_be_seen_is_told_by_its_type_or_by_quotes() {
    let with = |value: &str| PIPELINE.replace("rate: 0.1", &format!("rate: {value}"));
    for (from, to, told) in [
        ("0.0", "-0.0", "rate 0.0 → -0.0"),
        ("[0.0]", "[-0.0]", "rate [0.0] → [-0.0]"),
        ("1", "'1'", "rate 1 (a number) → 1 (a string)"),
        ("'true'", "true", "rate true (a string) → true (a boolean)"),
        ("a", "'a '", "rate \"a\" → \"a \""),
        ("1", "1.0", "rate 1 → 1.0"),
    ] {
        let project = Project::new(&with(from));
        project.write("text.txt", "1\n");
        project.run(&[]).expect_code(0);
        project.write("pipeline.yaml", &with(to));
        assert_eq!(sentence(&project, "a"), told);
        let changed = project.pipe(&["explain", "a"]).expect_code(0).stdout;
        assert!(changed.contains(told), "{changed}");
    }
}

#[test]
fn a_removed_input_is_a_change() {
    let project = after_run();
    let without =
        PIPELINE.replace("\"$IN_text\"", "text.txt").replace("    inputs: {text: text.txt}\n", "");
    project.write("pipeline.yaml", &without);
    assert_eq!(sentence(&project, "a"), "command changed, input `text` removed");
}

#[test]
fn the_spelling_of_a_value_comments_and_the_order_of_keys_change_nothing() {
    let project = after_run();
    let same = PIPELINE
        .replace(
            "{rate: 0.1, more: {x: 1, y: [1, 2]}}",
            "\n      more:\n        y: [ 1,2 ]\n        x: 1 # one\n      rate: 0.10",
        )
        .replace("stages:\n", "# stages\nstages:\n");
    assert_ne!(same, PIPELINE);
    project.write("pipeline.yaml", &same);
    project.expect_run(&[], "a=hit b=hit c=hit");
    project.write("pipeline.yaml", &PIPELINE.replace("0.1,", "1.0e-1,"));
    project.expect_run(&[], "a=hit b=hit c=hit");
}

#[test]
fn a_command_that_writes_equal_bytes_again_cuts_the_rerun_off() {
    let project = after_run();
    project.write("text.txt", "1\n2\n");
    let plan = project.pipe(&["run", "--dry-run"]).expect_code(0).stdout;
    assert!(plan.contains("b  waits for a, may be cut off"), "{plan}");
    assert!(plan.contains("c  waits for b, may be cut off"), "{plan}");
    project.expect_run(&[], "a=ran b=hit c=hit");
    assert_eq!(project.take_log(), "a");
}

#[test]
fn the_cost_of_a_rerun_is_what_it_took_the_last_time() {
    let project = after_run();
    for file in project.stored("records") {
        let key = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let mut record = Record::parse(&fs::read_to_string(&file).unwrap(), key).unwrap();
        record.seconds = match record.stage.as_str() {
            "a" => 7.0,
            "b" => 400.0,
            _ => 10.0,
        };
        fs::remove_file(&file).unwrap();
        fs::write(&file, record.to_text().unwrap()).unwrap();
    }
    let last = |arguments: &[&str]| {
        let plan = project.pipe(&[&["run", "--dry-run"], arguments].concat()).expect_code(0);
        plan.stdout.lines().last().unwrap().to_owned()
    };
    let all = "would run a, b and c: about 6 min 57 s at most";
    assert_eq!(last(&["--set", "a.rate=1"]), all);
    let some = "would run b and c: about 6 min 50 s at most; 1 stage is up to date";
    assert_eq!(last(&["--force=b"]), some);
    // Without a possible cut-off, this is not an upper bound.
    let forced = "would run b and c: about 6 min 50 s; 1 stage is up to date";
    assert_eq!(last(&["--force=b", "--force=c"]), forced);
}

#[test]
fn a_hit_is_believed_only_if_every_object_that_it_names_is_there() {
    let yaml = r#"
stages:
  a:
    run: |
      echo one > $OUT_one; echo two > $OUT_two
      mkdir -p $OUT_folder/deep; echo three > $OUT_folder/deep/file; echo four > $OUT_folder/four
    outputs: [one, two, folder]
"#;
    let project = Project::new(yaml);
    project.run(&[]).expect_code(0);
    let objects = project.stored("objects");
    assert_eq!(objects.len(), 5);
    for object in objects {
        fs::remove_file(&object).unwrap();
        let explain = sentence(&project, "a");
        assert!(explain.contains("is missing from the store"), "{explain}");
        let run = project.expect_run(&[], "a=ran").expect_code(0);
        assert_eq!(run.about("stage_started", "a")["reason"]["reason"], "object_missing");
        assert!(object.exists());
    }
    project.expect_run(&[], "a=hit");
}

#[test]
fn a_second_run_reads_no_source_file_unless_the_index_is_distrusted() {
    let yaml =
        "stages:\n  a: {run: 'ls $IN_d > $OUT_x', inputs: {d: data, t: text.txt}, outputs: [x]}\n";
    let project = Project::new(yaml);
    project.write("text.txt", "text\n");
    for n in 0..5 {
        project.write(&format!("data/{n}"), &format!("{n}\n"));
    }
    // Files that were written in the same tick of the clock are read once more.
    let read =
        |arguments: &[&str]| project.run(arguments).summary()["files_read"].as_u64().unwrap();
    assert!(read(&[]) >= 6);
    while read(&[]) > 0 {}
    assert_eq!(read(&[]), 0);
    assert_eq!(read(&["--no-index"]), 6);
}

#[test]
fn the_changed_files_of_a_source_folder_are_named() {
    let yaml =
        "stages:\n  a: {run: 'ls $IN_model > $OUT_x', inputs: {model: model}, outputs: [x]}\n";
    let project = Project::new(yaml);
    for file in ["config.json", "vocab.txt", "weights/a", "weights/b"] {
        project.write(&format!("model/{file}"), "1\n");
    }
    project.run(&[]).expect_code(0);
    project.write("model/config.json", "2\n");
    assert_eq!(sentence(&project, "a"), "input `model` changed: config.json");
    project.write("model/new", "1\n");
    fs::remove_file(project.path("model/weights/b")).unwrap();
    assert_eq!(sentence(&project, "a"), "input `model` changed: config.json (and 2 more)");
    let explain = project.pipe(&["explain", "a"]).expect_code(0).stdout;
    let files = "  input `model` changed (model)\n    ~ config.json\n    + new\n    - weights/b\n";
    assert!(explain.contains(files), "{explain}");
    let run = project.run(&[]).expect_code(0);
    let change = &run.about("stage_started", "a")["reason"]["changes"][0];
    assert_eq!(change["files"]["changed"], serde_json::json!(["config.json"]));
    assert_eq!(change["files"]["added"], serde_json::json!(["new"]));
    assert_eq!(change["files"]["removed"], serde_json::json!(["weights/b"]));
    // Without an intact listing, the explanation lacks the names of the files.
    for listing in project.stored("listings") {
        fs::write(listing, "tree 1\nnonsense").unwrap();
    }
    project.write("model/new", "2\n");
    assert_eq!(sentence(&project, "a"), "input `model` changed (model)");
}

#[test]
fn the_changed_files_of_a_stage_s_folder_are_named() {
    let yaml = r#"
stages:
  a: {run: 'mkdir $OUT_m; cp $IN_t $OUT_m/weights; echo 1 > $OUT_m/config', inputs: {t: text.txt}, outputs: [m]}
  b: {run: 'ls $IN_m > $OUT_x', inputs: {m: a:m}, outputs: [x]}
"#;
    let project = Project::new(yaml);
    project.write("text.txt", "1\n");
    project.run(&[]).expect_code(0);
    project.write("text.txt", "2\n");
    project.run(&["a"]).expect_code(0);
    assert_eq!(sentence(&project, "b"), "input `m` changed: weights");
}

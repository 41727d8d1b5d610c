//! The log of runs: what it records, comparing two runs, and restoring what a run published.

use std::fs;

use serde_json::Value;

use crate::harness::{Ended, Project, open_gate, read_fifo};

/// `b` publishes a file, `d` a folder.
const PAIR: &str = r#"
stages:
  a:
    run: cat "$IN_text" > "$OUT_copy"
    inputs: {text: text.txt}
    outputs: [copy]
  b:
    run: cat "$IN_copy" > "$OUT_result"; echo "$PARAM_n" >> "$OUT_result"
    inputs: {copy: a:copy}
    params: {n: 1}
    outputs: [result]
    publish: {result: out/result.txt}
  d:
    run: mkdir "$OUT_d"; for f in $PARAM_files; do echo $f > "$OUT_d/$f"; done
    params: {files: one two}
    outputs: [d]
    publish: {d: folder}
"#;

fn pair() -> Project {
    let project = Project::new(PAIR);
    project.write("text.txt", "some text\n");
    project.run(&[]).expect_code(0);
    project
}

/// The runs of `pipe log --json`, newest first.
#[track_caller]
fn log(project: &Project) -> Vec<Value> {
    project.pipe(&["log", "--json", "-n", "100"]).expect_code(0).events()
}

fn names(path: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn only_a_run_that_did_something_is_in_the_log() {
    let project = pair();
    project.run(&[]).expect_code(0);
    project.run(&["--dry-run", "--set", "b.n=2"]).expect_code(0);
    assert_eq!(log(&project).len(), 1);
    project.run(&["--set", "b.n=2"]).expect_code(0);
    // Nothing runs, but a new file is published.
    project.run(&[]).expect_code(0);
    let runs = log(&project);
    assert_eq!(runs.len(), 3);
    assert_eq!(runs[1]["set"], serde_json::json!([["b.n", "2"]]));
    assert_eq!(runs[1]["command"], serde_json::json!(["run", "--json", "--set", "b.n=2"]));
    let outcomes = |run: &Value| -> Vec<String> {
        let stages = run["stages"].as_array().unwrap().iter();
        let mut all: Vec<String> =
            stages.map(|s| format!("{}={}", s["stage"], s["outcome"]).replace('"', "")).collect();
        all.sort();
        all
    };
    assert_eq!(outcomes(&runs[2]), ["a=ran", "b=ran", "d=ran"]);
    assert_eq!(outcomes(&runs[1]), ["a=hit", "b=ran", "d=hit"]);
    assert_eq!(outcomes(&runs[0]), ["a=hit", "b=hit", "d=hit"]);
    assert_eq!(runs[0]["published"].as_array().unwrap().len(), 2);
    assert_eq!(runs[0]["published"][0]["path"], "out/result.txt");
    assert_eq!(runs[0]["published"], runs[2]["published"]);
    assert_ne!(runs[0]["published"], runs[1]["published"]);
    assert_eq!(project.entries("tmp").len(), 0);
}

#[test]
fn a_failed_run_is_in_the_log_with_the_reason() {
    let project = Project::new("stages:\n  bad: {run: exit 3, outputs: [x]}\n");
    project.run(&[]).expect_code(1);
    let runs = log(&project);
    assert_eq!(runs[0]["stages"][0]["outcome"], "failed");
    assert_eq!(runs[0]["stages"][0]["message"], "exit code 3");
    let text = project.pipe(&["log"]).expect_code(0).stdout;
    assert!(text.contains("bad failed"), "{text}");
}

#[test]
fn an_interrupted_run_is_in_the_log() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo on > started; sleep 600 > /dev/null', outputs: [x]}\n",
    );
    let started = project.fifo("started");
    let running = project.start(&[]);
    read_fifo(&started);
    running.signal(rustix::process::Signal::INT);
    running.end().expect_code(130);
    assert_eq!(log(&project)[0]["interrupted"], true);
    assert!(project.pipe(&["log"]).stdout.contains("interrupted"));
}

#[test]
fn runs_that_start_at_the_same_time_are_all_in_the_log() {
    let stages: String =
        (0..8).map(|n| format!("  s{n}: {{run: 'echo {n} > $OUT_x', outputs: [x]}}\n")).collect();
    let project = Project::new(&format!("stages:\n{stages}"));
    let running: Vec<_> = (0..8).map(|n| project.start(&[format!("s{n}").as_str()])).collect();
    for running in running {
        running.end().expect_code(0);
    }
    assert_eq!(log(&project).len(), 8);
}

#[test]
fn the_log_is_newest_first_cut_at_a_number_and_no_wider_than_80_columns() {
    let project = pair();
    for n in 2..5 {
        let long = format!("b.n={n}{}", "x".repeat(100));
        project.run(&["--set", &long]).expect_code(0);
    }
    let text = project.pipe(&["log", "-n", "2"]).expect_code(0).stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("… 2 older runs"), "{text}");
    let ids: Vec<Value> = log(&project).iter().map(|run| run["id"].clone()).collect();
    assert!(ids.is_sorted_by(|a, b| a.as_str() > b.as_str()), "{ids:?}");
    assert!(text.starts_with(ids[0].as_str().unwrap()), "{text}");
}

#[test]
fn without_a_run_the_log_says_so_and_writes_nothing() {
    let project = Project::new(PAIR);
    for command in [&["log"][..], &["diff"], &["restore", "last"]] {
        let ended = project.pipe(command).expect_code(2);
        assert!(ended.stderr.contains("the log of runs is empty"), "{}", ended.stderr);
    }
    assert_eq!(project.pipe(&["log", "--json"]).expect_code(0).stdout, "");
    assert!(!project.path("cache").exists());
}

#[test]
fn an_unknown_run_is_a_usage_error() {
    let project = pair();
    for (name, problem) in
        [("nonsense", "there is no run `nonsense`"), ("last~5", "the log has 1 runs")]
    {
        let ended = project.pipe(&["restore", name]).expect_code(2);
        assert!(ended.stderr.contains(problem), "{}", ended.stderr);
        assert!(ended.stderr.contains("`pipe log` lists the runs"), "{}", ended.stderr);
    }
}

#[test]
fn two_runs_are_compared_by_parameters_inputs_and_stages() {
    let project = pair();
    project.write("text.txt", "another text\n");
    let yaml = PAIR.replace("  d:\n", "  e:\n");
    project.write("pipeline.yaml", &yaml);
    project.run(&["--set", "b.n=2"]).expect_code(0);
    let diff = project.pipe(&["diff", "--json"]).expect_code(0).events().remove(0);
    let stage = |name: &str| {
        let stages = diff["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["stage"] == name).unwrap().clone()
    };
    assert_eq!(stage("a")["changes"][0]["field"], "input");
    assert_eq!(stage("a")["changes"][0]["name"], "text");
    let b = stage("b");
    assert_eq!((&b["changes"][0]["from"], &b["changes"][0]["to"]), (&1.into(), &2.into()));
    assert_eq!(b["changes"][1]["origin"], "a:copy");
    assert_eq!(stage("d")["to"], Value::Null);
    assert_eq!(stage("e")["from"], Value::Null);
    let text = project.pipe(&["diff", "last~1", "last"]).expect_code(0).stdout;
    assert!(text.contains("  n 1 → 2\n"), "{text}");
    assert!(text.contains("  input `text` changed (text.txt): "), "{text}");
    assert!(text.contains("only in the first run"), "{text}");
    // In the other direction.
    let back = project.pipe(&["diff", "last", "last~1"]).expect_code(0).stdout;
    assert!(back.contains("  n 2 → 1\n"), "{back}");
    let same = project.pipe(&["diff", "last", "last"]).expect_code(0).stdout;
    assert!(same.contains("the same: "), "{same}");
    assert!(!same.contains('→'), "{same}");
}

#[test]
fn metrics_are_compared_with_the_sign_of_the_difference() {
    let project =
        Project::new("stages:\n  split: {inputs: {examples: rows.jsonl}, params: {share: 0.8}}\n");
    let row = |n: usize| format!("{{\"id\":\"{n}\",\"text\":\"t {n}\",\"label\":\"{}\"}}\n", n % 2);
    project.write("rows.jsonl", &(0..40).map(row).collect::<String>());
    let first = project.run(&[]).expect_code(0);
    assert_eq!(first.about("stage_finished", "split")["metrics"]["train_rows"], 32.0);
    project.run(&["--set", "split.share=0.9"]).expect_code(0);
    let text = project.pipe(&["diff"]).expect_code(0).stdout;
    assert!(text.contains("  share 0.8 → 0.9\n"), "{text}");
    assert!(text.contains("  train_rows  32 → 36  +4\n"), "{text}");
    assert!(text.contains("  valid_rows  8 → 4    -4\n"), "{text}");
    let json = project.pipe(&["diff", "--json"]).events().remove(0);
    let metrics = json["stages"][0]["metrics"].as_array().unwrap();
    let rows = metrics.iter().find(|metric| metric["name"] == "train_rows").unwrap();
    assert_eq!(rows["delta"], 4.0);
    // The log keeps the metrics itself, so they stay when the results are gone.
    project.run(&["--set", "split.share=0.5"]).expect_code(0);
    project.pipe(&["cache", "gc", "--keep-last", "0"]).expect_code(0);
    let text = project.pipe(&["diff", "last~2", "last~1"]).expect_code(0).stdout;
    assert!(text.contains("a record is gone, so the fields are unknown"), "{text}");
    assert!(text.contains("  train_rows  32 → 36  +4\n"), "{text}");
    assert!(project.pipe(&["log"]).stdout.contains("split: train_rows 36"));
}

#[test]
fn a_run_is_restored_exactly() {
    let project = pair();
    project.run(&["--set", "b.n=2", "--set", "d.files=two three"]).expect_code(0);
    assert_eq!(names(&project.path("folder")), ["three", "two"]);
    let ended = project.pipe(&["restore", "last~1"]).expect_code(0);
    assert!(ended.stderr.contains("restored `out/result.txt` (b:result)"), "{}", ended.stderr);
    assert_eq!(project.read("out/result.txt"), "some text\n1\n");
    // The files of the newer run are gone.
    assert_eq!(names(&project.path("folder")), ["one", "two"]);
    let again = project.pipe(&["restore", "last~1", "--json"]).expect_code(0).events();
    assert!(again.iter().all(|output| output["result"] == "unchanged"), "{again:?}");
    project.pipe(&["restore", "last", "folder"]).expect_code(0);
    assert_eq!(names(&project.path("folder")), ["three", "two"]);
    assert_eq!(project.read("out/result.txt"), "some text\n1\n");
    let unknown = project.pipe(&["restore", "last", "flder"]).expect_code(2);
    assert!(unknown.stderr.contains("it published out/result.txt, folder"), "{}", unknown.stderr);
    assert_eq!(project.entries("tmp").len(), 0);
}

#[test]
fn an_edited_file_stops_a_restore_before_anything_is_written() {
    let project = pair();
    project.run(&["--set", "b.n=2", "--set", "d.files=two three"]).expect_code(0);
    project.write("folder/mine", "my own\n");
    let ended = project.pipe(&["restore", "last~1"]).expect_code(1);
    assert!(ended.stderr.contains("`folder` was edited"), "{}", ended.stderr);
    assert!(ended.stderr.contains("`out/result.txt` was left as it is"), "{}", ended.stderr);
    assert_eq!(project.read("out/result.txt"), "some text\n2\n");
    assert_eq!(project.read("folder/mine"), "my own\n");
    project.pipe(&["restore", "last~1", "--force"]).expect_code(0);
    assert_eq!(names(&project.path("folder")), ["one", "two"]);
    assert_eq!(project.read("out/result.txt"), "some text\n1\n");
}

#[test]
fn a_damaged_object_stops_a_restore_before_anything_is_written() {
    let project = pair();
    project.run(&["--set", "b.n=2", "--set", "d.files=two three"]).expect_code(0);
    let object = project.stored("objects").into_iter();
    let mut object = object.filter(|path| fs::read(path).unwrap() == b"one\n");
    let object = object.next().unwrap();
    fs::remove_file(&object).unwrap();
    fs::write(&object, "eno\n").unwrap();
    let ended = project.pipe(&["restore", "last~1"]).expect_code(1);
    assert!(ended.stderr.contains("`folder` (d:d) is no longer in the store"), "{}", ended.stderr);
    assert_eq!(project.read("out/result.txt"), "some text\n2\n");
    assert_eq!(names(&project.path("folder")), ["three", "two"]);
}

#[test]
fn a_removed_output_is_named_with_the_command_that_makes_it_again() {
    let project = pair();
    project.run(&["--set", "b.n=two words"]).expect_code(0);
    project.run(&[]).expect_code(0);
    project.pipe(&["cache", "gc", "--keep-last", "0"]).expect_code(0);
    let gone = |ended: &Ended, how: &str| {
        let line = format!("`out/result.txt` (b:result) is no longer in the store; {how}");
        assert!(ended.stderr.contains(&line), "{}", ended.stderr);
    };
    let ended = project.pipe(&["restore", "last~1"]).expect_code(1);
    gone(&ended, "`pipe run --set 'b.n=two words' b` makes it again");
    project.write("pipeline.yaml", &PAIR.replace("cat \"$IN_copy\"", "rev \"$IN_copy\""));
    let ended = project.pipe(&["restore", "last~1"]).expect_code(1);
    gone(&ended, "the pipeline has changed since and would make other bytes");
    project.write("pipeline.yaml", PAIR);
    project.run(&["--set", "b.n=two words"]).expect_code(0);
    project.run(&[]).expect_code(0);
    project.pipe(&["restore", "last~1"]).expect_code(0);
    assert_eq!(project.read("out/result.txt"), "some text\ntwo words\n");
}

#[test]
fn a_damaged_run_is_reported_and_hides_no_other() {
    let project = pair();
    project.run(&["--set", "b.n=2"]).expect_code(0);
    let files = project.stored("runs");
    let text = fs::read_to_string(&files[1]).unwrap();
    for damage in [text.replace("\"seconds\":", "\"seconds\":1"), text[..40].to_owned()] {
        fs::write(&files[1], damage).unwrap();
        let ended = project.pipe(&["log"]).expect_code(0);
        assert!(ended.stderr.contains("is damaged"), "{}", ended.stderr);
        assert!(ended.stdout.contains("  ran a, b and d"), "{}", ended.stdout);
        assert!(project.pipe(&["diff"]).expect_code(1).stderr.contains("is damaged"));
        // `gc` cannot know which results the damaged run would keep.
        let gc = project.pipe(&["cache", "gc", "--keep-last", "0"]).expect_code(1);
        assert!(gc.stderr.contains("`pipe cache verify --repair` removes it"), "{}", gc.stderr);
    }
    project.pipe(&["cache", "verify"]).expect_code(1);
    project.pipe(&["cache", "verify", "--repair"]).expect_code(0);
    assert_eq!(log(&project).len(), 1);
}

#[test]
fn a_stage_that_ran_twice_for_a_repair_is_logged_once_with_its_second_outcome() {
    let project = pair();
    for object in project.stored("objects") {
        if fs::read(&object).unwrap() == b"some text\n" {
            fs::remove_file(&object).unwrap();
            fs::write(&object, "some evil\n").unwrap();
        }
    }
    project.run(&["--set", "b.n=2"]).expect_code(0);
    let run = log(&project).remove(0);
    let stages = run["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 3);
    let a = stages.iter().find(|stage| stage["stage"] == "a").unwrap();
    assert_eq!(a["outcome"], "ran");
}

#[test]
fn a_run_in_progress_is_not_in_the_log_yet() {
    let project =
        Project::new("stages:\n  a: {run: 'read x < gate; echo 1 > $OUT_x', outputs: [x]}\n");
    let gate = project.fifo("gate");
    let mut running = project.start(&[]);
    assert!(running.read_until("stage_started"));
    assert_eq!(project.stored("runs").len(), 0);
    open_gate(&gate);
    running.end().expect_code(0);
    assert_eq!(project.stored("runs").len(), 1);
}

#[test]
fn predictions_of_two_runs_are_compared_row_by_row() {
    let project = Project::new(
        "stages:\n  baseline: {inputs: {train: train.jsonl, valid: valid.jsonl}, params: {c: 1.0}}\n",
    );
    let row = |index: usize, label: &str, text: &str| {
        format!("{{\"id\":\"{index}\",\"text\":\"{text}\",\"context\":[],\"label\":\"{label}\"}}\n")
    };
    let rows = |count: usize| -> String {
        let rows = (0..count).map(|index| match index % 4 {
            0 | 1 => row(index, "no", "plain words here"),
            2 => row(index, "yes", "oh great words"),
            _ => row(index, "yes", "oh plain words"),
        });
        rows.collect()
    };
    project.write("train.jsonl", &rows(40));
    project.write("valid.jsonl", &rows(24));
    project.run(&[]).expect_code(0);
    // Trained on these the baseline always says `no`; the data must still contain a second label.
    let ones = rows(40).replace("yes", "no") + &row(40, "yes", "something else");
    project.write("ones.jsonl", &ones);
    project.run(&["--set", "baseline.inputs.train=ones.jsonl"]).expect_code(0);
    let diff = project.pipe(&["diff", "--json"]).expect_code(0);
    let compared = &diff.events()[0]["stages"][0]["predictions"]["valid"];
    assert_eq!(compared["rows"], 24);
    assert_eq!(compared["accuracy"]["other"], 1.0);
    assert_eq!(compared["accuracy"]["this"], 0.5);
    assert_eq!(
        (&compared["only_this_right"], &compared["only_other_right"]),
        (&0.into(), &12.into())
    );
    let text = project.pipe(&["diff"]).expect_code(0).stdout;
    let head = "valid of 24 rows: 0 became right, 12 became wrong";
    assert!(
        text.contains(head) && text.contains("accuracy 1 → 0.5, -0.5 (95 % interval"),
        "{text}"
    );
}

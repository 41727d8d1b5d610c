//! `cache gc`: what is kept and removed, and in which order. `cache du`: disk usage.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Project, open_gate};

/// Two stages that depend on the parameter, and one that does not.
const CHAIN: &str = r#"
profiles:
  other: {a.n: 7}
stages:
  a: {run: 'echo a >> ran.log; seq 2000 > $OUT_x; echo $PARAM_n >> $OUT_x', params: {n: 1}, outputs: [x]}
  b:
    run: echo b >> ran.log; mkdir $OUT_d; cp $IN_x $OUT_d/x; echo b >> $OUT_d/x; echo same > $OUT_d/same
    inputs: {x: a:x}
    outputs: [d]
    publish: {d: out}
  c: {run: 'echo c >> ran.log; echo same > $OUT_x', outputs: [x]}
"#;

/// With a run for each of these values, the last one first undone by a plain run.
fn chain(values: &[usize]) -> Project {
    let project = Project::new(CHAIN);
    for value in values {
        project.run(&["--set", &format!("a.n={value}")]).expect_code(0);
    }
    project.run(&[]).expect_code(0);
    project.take_log();
    project
}

#[track_caller]
fn gc(project: &Project, options: &[&str]) -> Value {
    let arguments = [&["cache", "gc", "--json"], options].concat();
    let report = project.pipe(&arguments).expect_code(0).events().remove(0);
    // Whatever is removed, no record names a missing object.
    project.pipe(&["cache", "verify"]).expect_code(0);
    report
}

/// Whether a run with this value consists of cache hits only.
#[track_caller]
fn is_kept(project: &Project, value: usize) -> bool {
    let set = format!("a.n={value}");
    let status = project.pipe(&["status", "--set", &set]).expect_code(0).stdout;
    status.contains("all 3 stages are up to date")
}

#[test]
fn a_plain_gc_keeps_everything_of_late() {
    let project = chain(&[2, 3]);
    let before = project.snapshot();
    let report = gc(&project, &[]);
    assert_eq!(report["removed_bytes"], 0);
    assert_eq!(project.snapshot(), before);
    let text = project.pipe(&["cache", "gc"]).expect_code(0).stdout;
    assert!(text.starts_with("nothing to remove; "), "{text}");
}

#[test]
fn the_present_pipeline_stays_whatever_is_asked_for() {
    let project = chain(&[2, 3]);
    for options in [&["--keep-last", "0"][..], &["--older-than", "0s"], &["--max-size", "0"]] {
        gc(&project, options);
        assert!(is_kept(&project, 1), "{options:?}");
        project.expect_run(&[], "a=hit b=hit c=hit");
        assert_eq!(project.take_log(), "");
    }
    assert!(!is_kept(&project, 2) && !is_kept(&project, 3));
    let over = gc(&project, &["--max-size", "1kB"])["over_bytes"].as_u64().unwrap();
    assert!(over > 10_000, "{over}");
}

#[test]
fn the_results_of_every_profile_stay() {
    let project = chain(&[2]);
    project.run(&["--profile", "other"]).expect_code(0);
    gc(&project, &["--keep-last", "0"]);
    project.take_log();
    project.expect_run(&["--profile", "other"], "a=hit b=hit c=hit");
    assert!(!is_kept(&project, 2));
}

#[test]
fn of_a_stage_that_is_not_up_to_date_the_newest_result_stays() {
    let project = chain(&[2]);
    project.write("pipeline.yaml", &CHAIN.replace("seq 2000", "seq 3000"));
    gc(&project, &["--keep-last", "0"]);
    assert!(!is_kept(&project, 2));
    let shown = project.pipe(&["cache", "cat", "b:d/same"]).expect_code(0);
    assert_eq!(shown.stdout, "same\n");
    project.write("pipeline.yaml", CHAIN);
    project.expect_run(&[], "a=hit b=hit c=hit");
}

#[test]
fn of_variants_that_are_not_up_to_date_the_newest_results_stay() {
    let project = Project::new(
        "stages:\n  a: {matrix: {n: [1, 2]}, run: 'echo ${matrix.n} > $OUT_o', outputs: [o]}\n",
    );
    project.run(&[]).expect_code(0);
    let changed = project.read("pipeline.yaml").replace("echo", "echo new");
    project.write("pipeline.yaml", &changed);
    gc(&project, &["--keep-last", "0"]);
    for (variant, made) in [("a@n=1:o", "1\n"), ("a@n=2:o", "2\n")] {
        assert_eq!(project.pipe(&["cache", "cat", variant]).expect_code(0).stdout, made);
    }
}

#[test]
fn the_last_runs_keep_what_they_used() {
    let project = chain(&[2, 3, 4]);
    // The log: 2, 3, 4, and the plain one.
    let report = gc(&project, &["--keep-last", "2"]);
    assert!(is_kept(&project, 1) && is_kept(&project, 4));
    assert!(!is_kept(&project, 2) && !is_kept(&project, 3));
    assert_eq!(report["removed_results"], 4);
    assert_eq!(report["stages"]["a"]["removed_results"], 2);
    assert_eq!(report["stages"]["c"]["removed_results"], 0);
    // More than there are, so everything is kept.
    assert_eq!(gc(&project, &["--keep-last", "100"])["removed_results"], 0);
    // A lower age keeps more.
    assert_eq!(gc(&project, &["--keep-last", "0", "--older-than", "1h"])["removed_results"], 0);
}

#[test]
fn a_kept_run_keeps_old_results_that_it_only_used() {
    let project = chain(&[2, 3]);
    // All stages are hits, but another folder is published.
    project.expect_run(&["--set", "a.n=2"], "a=hit b=hit c=hit");
    project.run(&[]).expect_code(0);
    gc(&project, &["--keep-last", "2"]);
    assert!(is_kept(&project, 2) && !is_kept(&project, 3));
}

#[test]
fn what_a_killed_run_made_since_the_kept_runs_stays() {
    let project = chain(&[2]);
    let before = project.stored("runs");
    project.run(&["--set", "a.n=5"]).expect_code(0);
    // As if that run had been killed at its end.
    for run in project.stored("runs") {
        if !before.contains(&run) {
            fs::remove_file(run).unwrap();
        }
    }
    gc(&project, &["--keep-last", "1"]);
    assert!(is_kept(&project, 5));
    gc(&project, &["--keep-last", "0"]);
    assert!(!is_kept(&project, 5));
}

#[test]
fn by_size_what_was_used_longest_ago_goes_first() {
    let project = chain(&[2, 3, 4]);
    // The first value is used again, so now only the plain run is newer.
    project.run(&["--set", "a.n=2"]).expect_code(0);
    project.run(&[]).expect_code(0);
    let bytes = |report: &Value| report["kept_bytes"].as_u64().unwrap();
    let all = bytes(&gc(&project, &["--dry-run"]));
    let most = (all - 1).to_string();
    let report = gc(&project, &["--max-size", &most]);
    assert!(bytes(&report) < all);
    assert!(!is_kept(&project, 3));
    assert!(is_kept(&project, 2) && is_kept(&project, 4));
    // Space for the current pipeline and one more value.
    gc(&project, &["--max-size", &(all / 2 + 1000).to_string()]);
    assert!(is_kept(&project, 2) && !is_kept(&project, 4));
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    let project = chain(&[2, 3]);
    let before = project.snapshot();
    let dry = gc(&project, &["--keep-last", "0", "--dry-run"]);
    assert_eq!(project.snapshot(), before);
    let text = project.pipe(&["cache", "gc", "--keep-last", "0", "--dry-run"]).stdout;
    assert!(text.contains("would free "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let bytes = |project: &Project| -> u64 {
        let objects = project.stored("objects").into_iter();
        objects.map(|path| fs::metadata(path).unwrap().len()).sum()
    };
    let was = bytes(&project);
    assert_eq!(gc(&project, &["--keep-last", "0"]), dry);
    assert_eq!(was - bytes(&project), dry["removed_bytes"].as_u64().unwrap());
    assert_eq!(bytes(&project), dry["kept_bytes"].as_u64().unwrap());
}

#[test]
fn what_several_results_share_stays_as_long_as_one_of_them() {
    let project = chain(&[2]);
    gc(&project, &["--keep-last", "0"]);
    // `same` was also in the removed folder.
    assert_eq!(project.pipe(&["cache", "cat", "c:x"]).expect_code(0).stdout, "same\n");
    assert_eq!(project.pipe(&["cache", "cat", "b:d/same"]).expect_code(0).stdout, "same\n");
}

#[test]
fn markers_logs_and_notes_go_with_what_they_belong_to() {
    let project = chain(&[2, 3]);
    assert_eq!(project.stored("stages").len(), 7);
    gc(&project, &["--keep-last", "0"]);
    for folder in ["stages", "logs", "records"] {
        assert_eq!(project.stored(folder).len(), 3, "{folder}");
    }
    assert_eq!(project.stored("published").len(), 1);
    let yaml = CHAIN.replace("    publish: {d: out}\n", "");
    project.write("pipeline.yaml", &yaml);
    fs::remove_dir_all(project.path("out")).unwrap();
    gc(&project, &["--keep-last", "0"]);
    assert_eq!(project.stored("published").len(), 0);
    // A run still compares with the results that are left.
    let explained = project.pipe(&["explain", "a", "--set", "a.n=9"]).expect_code(0).stdout;
    assert!(explained.contains("n 1 → 9"), "{explained}");
}

#[test]
fn checkpoints_of_an_unfinished_stage_stay_as_long_as_results_of_their_age() {
    let project = chain(&[]);
    let unfinished = format!("cache/state/{}/step", "ab".repeat(32));
    project.write(&unfinished, "a checkpoint");
    gc(&project, &[]);
    assert!(project.path(&unfinished).exists());
    let report = gc(&project, &["--older-than", "0s"]);
    assert_eq!(report["leftover_bytes"], 12);
    assert!(!project.path(&unfinished).exists());
}

#[test]
fn what_no_record_names_and_what_dead_processes_left_goes() {
    let project = chain(&[]);
    let stray = format!("cache/objects/ab/{}", "ab".repeat(32));
    project.write(&stray, "stray");
    project.write("cache/tmp/1-2/3", "left");
    let report = gc(&project, &[]);
    assert_eq!(report["unnamed_bytes"], 5);
    assert!(!project.path(&stray).exists());
    assert_eq!(project.entries("tmp").len(), 0);
    project.run(&[]).expect_code(0);
}

#[test]
fn quarantine_is_emptied_only_when_asked_for() {
    let project = chain(&[]);
    project.write("cache/quarantine/bad", "bad bytes");
    let text = project.pipe(&["cache", "gc"]).expect_code(0).stdout;
    assert!(text.contains("9 B are in quarantine"), "{text}");
    gc(&project, &["--quarantine"]);
    assert_eq!(project.entries("quarantine").len(), 0);
}

#[test]
fn nothing_is_removed_under_a_run() {
    let yaml = CHAIN.replace("echo c >> ran.log", "read go < gate");
    let project = Project::new(&yaml);
    let gate = project.fifo("gate");
    let mut running = project.start(&[]);
    assert!(running.read_until("stage_started"));
    for command in [&["cache", "gc", "--older-than", "0s"][..], &["cache", "verify", "--repair"]] {
        let ended = project.pipe(command).expect_code(1);
        assert!(ended.stderr.contains("a run is in progress"), "{}", ended.stderr);
        assert!(ended.stderr.contains("`--wait`"), "{}", ended.stderr);
    }
    // Reading is possible, and so is another run.
    project.pipe(&["cache", "gc", "--dry-run"]).expect_code(0);
    project.pipe(&["cache", "verify"]).expect_code(0);
    project.pipe(&["run", "a"]).expect_code(0);
    open_gate(&gate);
    running.end().expect_code(0);
    gc(&project, &[]);
}

#[test]
fn a_run_waits_until_the_collection_is_over_and_says_so() {
    let project = chain(&[]);
    let in_use = fs::File::open(project.path("cache/in-use")).unwrap();
    in_use.lock().unwrap();
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_pipe"))
        .args(["run", "--set", "a.n=2"])
        .current_dir(project.path(""))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = waiting.stderr.take().unwrap();
    let mut first = [0; 7];
    stderr.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"waiting");
    assert_eq!(project.take_log(), "");
    in_use.unlock().unwrap();
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(waiting.wait().unwrap().success(), "{rest}");
    assert_eq!(project.take_log(), "a b");
}

#[test]
fn a_collection_that_ends_in_the_middle_leaves_no_record_that_names_what_is_gone() {
    let project = chain(&[2, 3, 4]);
    // A folder in place of an object cannot be removed, so each in turn ends the collection at
    // another point.
    let dry = gc(&project, &["--keep-last", "0", "--dry-run"]);
    let kept = dry["kept_bytes"].as_u64().unwrap();
    for round in 0.. {
        let objects: Vec<PathBuf> = project.stored("objects");
        let records = project.stored("records").len();
        let large = objects.iter().filter(|path| fs::metadata(path).unwrap().len() > 1000);
        let Some(object) = large.into_iter().nth(round) else { break };
        let bytes = fs::read(object).unwrap();
        fs::remove_file(object).unwrap();
        fs::create_dir(object).unwrap();
        let ended = project.pipe(&["cache", "gc", "--keep-last", "0"]);
        fs::remove_dir(object).unwrap();
        fs::write(object, bytes).unwrap();
        project.pipe(&["cache", "verify"]).expect_code(0);
        if ended.code == Some(1) {
            assert!(ended.stderr.contains("removing"), "{}", ended.stderr);
            assert!(project.stored("records").len() <= records);
        }
        project.expect_run(&[], "a=hit b=hit c=hit");
    }
    assert_eq!(gc(&project, &["--keep-last", "0"])["kept_bytes"], kept);
}

#[test]
fn a_record_of_another_version_stops_a_collection_before_anything_is_removed() {
    let project = chain(&[2]);
    let record = project.stored("records").remove(0);
    let text = fs::read_to_string(&record).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    value.as_object_mut().unwrap().remove("check");
    value.as_object_mut().unwrap().remove("outputs");
    fs::write(&record, pipe::store::record::with_check(&value).unwrap()).unwrap();
    let before = project.snapshot();
    let ended = project.pipe(&["cache", "gc", "--keep-last", "0"]).expect_code(1);
    assert!(ended.stderr.contains("another version of `pipe` wrote it"), "{}", ended.stderr);
    assert_eq!(project.snapshot(), before);
}

#[test]
fn a_wrong_pipeline_stops_a_collection_before_anything_is_removed() {
    let project = chain(&[2]);
    let before = project.snapshot();
    project.write("pipeline.yaml", &CHAIN.replace("a:x", "a:y"));
    project.pipe(&["cache", "gc", "--keep-last", "0"]).expect_code(2);
    project.write("pipeline.yaml", &CHAIN.replace("inputs: {x: a:x}", "inputs: {x: missing}"));
    project.pipe(&["cache", "gc", "--keep-last", "0"]).expect_code(2);
    assert_eq!(project.snapshot(), before);
}

#[test]
fn wrong_sizes_and_ages_are_wrong_usage() {
    let project = Project::new(CHAIN);
    for wrong in [["--max-size", "ten"], ["--older-than", "30"], ["--keep-last", "-1"]] {
        project.pipe(&[&["cache", "gc"], &wrong[..]].concat()).expect_code(2);
    }
}

#[test]
fn a_published_copy_outlives_the_objects_it_was_made_of() {
    let project = chain(&[]);
    project.run(&["--set", "a.n=2"]).expect_code(0);
    gc(&project, &["--keep-last", "0"]);
    assert!(project.read("out/x").ends_with("2\nb\n"));
    // It is known not to be an edit by the user, so the plain run replaces it.
    project.expect_run(&[], "a=hit b=hit c=hit");
    assert!(project.read("out/x").ends_with("1\nb\n"));
}

#[test]
fn du_tells_bytes_by_output_what_is_shared_and_what_would_be_freed() {
    let project = chain(&[2]);
    let usage = project.pipe(&["cache", "du", "--json"]).expect_code(0).events().remove(0);
    let output = |stage: &str, field: &str| {
        let outputs = usage["outputs"].as_array().unwrap();
        let found = outputs.iter().find(|output| output["stage"] == stage).unwrap();
        found[field].as_u64().unwrap()
    };
    assert_eq!(output("a", "results"), 2);
    assert_eq!(output("a", "shared_bytes"), 0);
    assert_eq!((output("c", "bytes"), output("c", "shared_bytes")), (5, 5));
    assert_eq!(output("b", "shared_bytes"), 5);
    assert_eq!(usage["gc_frees_bytes"], 0);
    let objects = project.stored("objects").into_iter();
    let all: u64 = objects.map(|path| fs::metadata(path).unwrap().len()).sum();
    assert_eq!(usage["object_bytes"], all);
    assert_eq!(output("a", "bytes") + output("b", "bytes"), all);
    let text = project.pipe(&["cache", "du"]).expect_code(0).stdout;
    assert!(text.starts_with("artifact"), "{text}");
    assert!(text.contains("`pipe cache gc` would free 0 B"), "{text}");
}

#[test]
fn the_store_of_nothing_is_collected_too() {
    let project = Project::new("stages:\n  a: {run: 'true', outputs: [x]}\n");
    project.pipe(&["cache", "du"]).expect_code(0);
    project.pipe(&["cache", "gc", "--dry-run"]).expect_code(0);
    assert!(!project.path("cache").exists());
    gc(&project, &[]);
}

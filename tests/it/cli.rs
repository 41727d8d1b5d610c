//! Exit codes, usage errors, and output into a pipe.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::harness::Project;

const ONE: &str = "stages:\n  count: {run: 'echo 1 > $OUT_lines', outputs: [lines]}\n";

#[test]
fn a_misspelt_stage_exits_with_2_and_the_nearest_name_is_suggested() {
    let project = Project::new(ONE);
    for command in [&["run", "cuont"][..], &["explain", "cuont"], &["show", "cuont:lines"]] {
        let ended = project.pipe(command).expect_code(2);
        assert!(ended.stderr.contains("there is no stage `cuont`"), "{}", ended.stderr);
        assert!(ended.stderr.contains("did you mean `count`?"), "{}", ended.stderr);
    }
    assert!(!project.path("cache").exists());
}

#[test]
fn wrong_usage_exits_with_2() {
    let project = Project::new(ONE);
    for arguments in [
        &["frobnicate"][..],
        &["run", "--jobs", "0"],
        &["run", "--set", "nonsense"],
        &["run", "--device", "tpu"],
        &["graph", "--format", "png"],
    ] {
        project.pipe(arguments).expect_code(2);
    }
}

#[test]
fn a_mistyped_command_or_option_is_told_the_nearest_name() {
    let project = Project::new(ONE);
    for (arguments, name) in [
        (&["rnu"][..], "'run'"),
        (&["stauts"], "'status'"),
        (&["cache", "cg"], "'gc'"),
        // A value is no command.
        (&["-C", "cache", "statsu"], "'status'"),
        (&["run", "--quite"], "'--quiet'"),
        (&["run", "--josb", "2"], "'--jobs'"),
    ] {
        let ended = project.pipe(arguments).expect_code(2);
        assert!(ended.stderr.contains(name), "{arguments:?}: {}", ended.stderr);
    }
    let ended = project.pipe(&["frobnicate"]).expect_code(2);
    assert!(!ended.stderr.contains("similar"), "{}", ended.stderr);
    // Commands for the program itself are suggested to nobody.
    let ended = project.pipe(&["gaurd"]).expect_code(2);
    assert!(!ended.stderr.contains("'guard'"), "{}", ended.stderr);
}

#[test]
fn a_device_of_an_unknown_kind_is_refused_with_the_kinds_that_there_are() {
    let project = Project::new(ONE);
    for device in ["gpu", "cuda:", "vulkan:first"] {
        let ended = project.pipe(&["run", "--device", device]).expect_code(2);
        let kinds = "expected `auto`, `cpu`, `cuda`, `cuda:N`, `vulkan` or `vulkan:N`";
        assert!(ended.stderr.contains(kinds), "{device}: {}", ended.stderr);
    }
    project.expect_run(&["--device", "vulkan:1"], "count=ran");
}

#[test]
fn an_invalid_pipeline_exits_with_2() {
    let project = Project::new("stages:\n  a: {rum: 'true'}\n");
    project.pipe(&["run"]).expect_code(2);
    project.pipe(&["status"]).expect_code(2);
}

#[test]
fn without_a_pipeline_it_says_where_it_looked() {
    let project = Project::new(ONE);
    std::fs::remove_file(project.path("pipeline.yaml")).unwrap();
    let ended = project.pipe(&["status"]).expect_code(2);
    assert!(ended.stderr.contains("there is no `pipeline.yaml` in"), "{}", ended.stderr);
    assert!(ended.stderr.contains("-C DIR"), "{}", ended.stderr);
}

#[test]
fn the_pipeline_is_found_in_a_folder_above_and_can_be_named() {
    let project = Project::new(ONE);
    project.write("deep/er/file", "");
    project.pipe(&["-C", "deep/er", "run"]).expect_code(0);
    assert!(project.path("cache/records").exists());
    let status = project.pipe(&["-f", "pipeline.yaml", "status"]).expect_code(0);
    assert!(status.stdout.contains("the only stage is up to date"), "{}", status.stdout);
}

#[test]
fn quiet_prints_nothing_but_errors() {
    let project = Project::new(ONE);
    let ended = project.pipe(&["-q", "run"]).expect_code(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    project.write("pipeline.yaml", &ONE.replace("echo 1 >", "exit 4 #"));
    let ended = project.pipe(&["-q", "run"]).expect_code(1);
    assert!(ended.stderr.contains("stage `count` failed: exit code 4"), "{}", ended.stderr);
}

#[test]
fn colors_are_for_terminals_unless_requested() {
    let project = Project::new(ONE);
    assert!(!project.pipe(&["status"]).stdout.contains('\u{1b}'));
    assert!(project.pipe(&["status", "--color", "always"]).stdout.contains('\u{1b}'));
    assert!(!project.pipe(&["status", "--color", "never"]).stdout.contains('\u{1b}'));
}

#[test]
fn no_line_is_wider_than_80_columns() {
    let name = "a_stage_with_quite_a_long_name_as_generated_ones_are";
    let yaml = format!(
        "stages:\n  {name}:\n    run: echo {} > $OUT_o\n    params: {{a_long_parameter: {}, another_long_one: {}}}\n    outputs: [o]\n",
        "x".repeat(100),
        "y".repeat(60),
        "z".repeat(60)
    );
    let project = Project::new(&yaml);
    let narrow = |text: &str| text.lines().all(|line| line.chars().count() <= 80);
    for round in 0..2 {
        for command in [&["status"][..], &["run", "--dry-run"], &["cache", "ls"], &["graph"]] {
            let text = project.pipe(command).expect_code(0).stdout;
            assert!(narrow(&text), "{command:?}\n{text}");
        }
        project.run(&[]).expect_code(0);
        project.write("pipeline.yaml", &yaml.replace("yyyy", &format!("{round}")));
    }
}

#[test]
fn a_closed_standard_output_is_no_error() {
    let stages: String =
        (0..3000).map(|n| format!("  stage_number_{n}: {{run: echo, outputs: [x]}}\n")).collect();
    let project = Project::new(&format!("stages:\n{stages}"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_pipe"))
        .args(["status"])
        .current_dir(project.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
}

#[test]
fn output_that_cannot_be_written_is_an_error_of_every_command() {
    let project = Project::new(ONE);
    project.run(&[]).expect_code(0);
    for arguments in [
        &["run", "--json"][..],
        &["run", "--json", "--force"],
        &["run", "--dry-run"],
        &["status"],
        &["status", "--json"],
        &["explain", "count"],
        &["graph"],
        &["log"],
        &["show", "count:lines"],
        &["cache", "ls"],
        &["cache", "cat", "count:lines"],
        &["cache", "verify"],
        &["verify", "count"],
        &["report", "--out", "-"],
        &["stages"],
        &["schema"],
        &["man"],
        &["completions", "bash"],
        &["doctor", "--offline"],
        &["--help"],
        &["run", "--help"],
        &["help", "run"],
        &["--version"],
    ] {
        let ended = project.pipe_into("/dev/full", arguments).expect_code(1);
        let wanted = "error: writing to standard output: No space left";
        assert!(ended.stderr.contains(wanted), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn a_run_whose_events_nobody_reads_ends_quietly_and_is_complete() {
    let project = Project::new(ONE);
    let script = "\"$0\" run --json | true; exit ${PIPESTATUS[0]}";
    let mut shell = Command::new("bash");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_pipe")]).current_dir(project.path(""));
    let ended = shell.env_remove("PIPE_CACHE").output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    project.expect_run(&[], "count=hit");
}

#[test]
fn a_relative_cache_of_the_environment_starts_in_the_project_and_a_typed_one_here() {
    let project = Project::new(ONE);
    project.write("deep/er/file", "");
    let in_environment = [("PIPE_CACHE", "store")];
    project.pipe_with(&["run"], &in_environment).expect_code(0);
    let below = project.pipe_with(&["-C", "deep/er", "run", "--json"], &in_environment);
    assert_eq!(below.expect_code(0).outcomes(), "count=hit");
    assert!(project.path("store/records").exists() && !project.path("deep/er/store").exists());
    project.pipe_with(&["-C", "deep/er", "run", "--cache", "own"], &in_environment).expect_code(0);
    assert!(project.path("deep/er/own/records").exists());
    project.pipe_with(&["run"], &[("PIPE_CACHE", "")]).expect_code(0);
    assert!(project.path("cache/records").exists());
}

#[test]
fn artifacts_are_found_by_output_only_output_key_and_digest() {
    let project = Project::new(ONE);
    let missing = project.pipe(&["cache", "cat", "count:lines"]).expect_code(1);
    assert!(missing.stderr.contains("does not exist yet"), "{}", missing.stderr);
    let finished = project.run(&[]).about("stage_finished", "count");
    let key = finished["key"].as_str().unwrap();
    let digest = finished["outputs"]["lines"]["content"].as_str().unwrap();
    for target in ["count:lines", "count", key, &key[..12], digest, &digest[5..20]] {
        assert_eq!(
            project.pipe(&["cache", "cat", target]).expect_code(0).stdout,
            "1\n",
            "{target}"
        );
        let record = project.pipe(&["cache", "show", "--record", target]).expect_code(0).stdout;
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["key"], key);
    }
    project.pipe(&["cache", "cat", "count:other"]).expect_code(2);
    project.pipe(&["cache", "cat", "ffffffffffffffff"]).expect_code(2);
    let listing = project.pipe(&["cache", "ls"]).expect_code(0).stdout;
    assert!(
        listing.starts_with(&format!("count:lines  {}       2 B  ", &digest[5..15])),
        "{listing}"
    );
}

#[test]
fn an_artifact_of_an_older_run_is_shown_with_a_warning() {
    let project = Project::new(ONE);
    project.run(&[]).expect_code(0);
    project.write("pipeline.yaml", &ONE.replace("echo 1", "echo 2"));
    let ended = project.pipe(&["cache", "cat", "count:lines"]).expect_code(0);
    assert_eq!(ended.stdout, "1\n");
    assert!(ended.stderr.contains("`count` is not up to date"), "{}", ended.stderr);
}

#[test]
fn a_dumb_terminal_and_no_color_are_respected() {
    let project = Project::new(ONE);
    for variable in [("TERM", "dumb"), ("NO_COLOR", "1")] {
        let ended = project.pipe_with(&["run"], &[variable]).expect_code(0);
        assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
    }
}

#[test]
fn results_can_be_looked_at_when_their_sources_are_gone() {
    let project = Project::new(
        "vars: {text: text.txt}\nstages:\n  copy: {run: 'cat $IN_t > $OUT_x', inputs: {t: '${text}'}, outputs: [x]}\n",
    );
    project.write("text.txt", "1\n");
    project.run(&[]).expect_code(0);
    std::fs::remove_file(project.path("text.txt")).unwrap();
    for arguments in [
        &["show", "copy:x"][..],
        &["cache", "cat", "copy:x"],
        &["cache", "show", "--record", "copy:x"],
        &["cache", "ls"],
    ] {
        let ended = project.pipe(arguments).expect_code(0);
        assert!(!ended.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(project.pipe(&["cache", "cat", "copy:x"]).stdout, "1\n");
    let none = project.pipe(&["why-row", "a"]).expect_code(2).stderr;
    assert!(none.contains("no result of this pipeline contains"), "{none}");
    for arguments in [&["run"][..], &["status"], &["verify", "copy"]] {
        let refused = project.pipe(arguments).expect_code(2).stderr;
        assert!(refused.contains("there is no `"), "{refused}");
    }
}

//! How a stage runs: `frozen`, `always`, `retries` and `timeout`.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{Project, open_gate, read_fifo};

const CHAIN: &str = r#"
stages:
  a:
    run: echo a >> ran.log; cat "$IN_t" > "$OUT_x"
    inputs: {t: text.txt}
    outputs: [x]
  b:
    run: echo b >> ran.log; echo "$PARAM_rate $(cat "$IN_x")" > "$OUT_x"
    inputs: {x: a:x}
    params: {rate: 1}
    outputs: [x]
  c:
    run: echo c >> ran.log; cat "$IN_x" > "$OUT_x"
    inputs: {x: b:x}
    outputs: [x]
    publish: {x: c.txt}
"#;

/// A project with [`CHAIN`] and one more line in stage `b`.
fn chain(line: &str) -> Project {
    let project = Project::new(&with_b(line));
    project.write("text.txt", "one\n");
    project
}

fn with_b(line: &str) -> String {
    CHAIN.replace("    params: {rate: 1}\n", &format!("    params: {{rate: 1}}\n    {line}\n"))
}

fn frozen_after_run() -> Project {
    let project = chain("");
    project.run(&[]).expect_code(0);
    project.take_log();
    project.write("pipeline.yaml", &with_b("frozen: true"));
    project
}

#[test]
fn a_frozen_stage_never_runs_and_its_newest_result_stands() {
    let project = frozen_after_run();
    project.write("text.txt", "two\n");
    let run = project.expect_run(&["--set", "b.rate=2"], "a=ran b=hit c=hit").expect_code(0);
    assert_eq!(project.take_log(), "a");
    assert_eq!(project.read("c.txt"), "1 one\n");
    let change = &run.about("stage_frozen", "b")["differs"]["changes"][0];
    assert_eq!(change["name"], "rate");
    // Stages that read from it can still run.
    project.expect_run(&["--force=c", "--set", "b.rate=2"], "a=hit b=hit c=ran").expect_code(0);
    project.expect_run(&["--force"], "a=ran b=hit c=ran").expect_code(0);
}

#[test]
fn a_frozen_stage_says_what_differs() {
    let project = frozen_after_run();
    let sentence = |arguments: &[&str]| {
        let status = project.pipe(&[&["status", "--json"], arguments].concat()).expect_code(0);
        status.about("stage_planned", "b")["sentence"].as_str().unwrap().to_owned()
    };
    assert_eq!(sentence(&[]), "frozen");
    assert_eq!(sentence(&["--set", "b.rate=2"]), "frozen, though rate 1 → 2");
    let status = project.pipe(&["status", "--set", "b.rate=2"]).expect_code(0).stdout;
    assert!(status.ends_with("2 stages are up to date; b is frozen\n"), "{status}");
    let explain = project.pipe(&["explain", "b", "--set", "b.rate=2"]).expect_code(0).stdout;
    assert!(explain.starts_with("b is frozen, though rate 1 → 2\n  compared with"), "{explain}");
    assert!(explain.contains("ran "), "{explain}");
    let run = project.pipe(&["run", "--set", "b.rate=2"]).expect_code(0).stderr;
    assert!(run.starts_with("b  is frozen, though rate 1 → 2\nnothing to do: "), "{run}");
    // While the input has yet to be rebuilt, nothing is known to differ.
    project.write("text.txt", "two\n");
    assert_eq!(sentence(&[]), "frozen");
    project.run(&["a"]).expect_code(0);
    assert_eq!(sentence(&[]), "frozen, though input `x` changed (a:x)");
}

#[test]
fn a_result_with_the_same_key_wins_over_the_newest() {
    let project = frozen_after_run();
    project.write("pipeline.yaml", CHAIN);
    project.run(&["--set", "b.rate=2"]).expect_code(0);
    assert_eq!(project.read("c.txt"), "2 one\n");
    project.write("pipeline.yaml", &with_b("frozen: true"));
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("c.txt"), "1 one\n");
    project.run(&["--set", "b.rate=3"]).expect_code(0);
    assert_eq!(project.read("c.txt"), "2 one\n");
}

#[test]
fn a_frozen_stage_without_a_result_is_refused_with_a_hint() {
    let project = chain("frozen: true");
    for command in ["run", "status"] {
        let ended = project.pipe(&[command]).expect_code(2);
        assert!(ended.stderr.contains("stage `b` (line 7) is frozen"), "{}", ended.stderr);
        assert!(ended.stderr.contains("run `b` once without `frozen: true`"), "{}", ended.stderr);
    }
    // A result with a missing object does not count.
    let project = frozen_after_run();
    for object in project.stored("objects") {
        fs::remove_file(object).unwrap();
    }
    project.pipe(&["run"]).expect_code(2);
}

#[test]
fn a_frozen_stage_needs_no_stage_before_it() {
    let project = frozen_after_run();
    project.write("text.txt", "two\n");
    project.expect_run(&["c"], "b=hit c=hit").expect_code(0);
    project.expect_run(&["--only", "c", "--force"], "b=hit c=ran").expect_code(0);
    assert_eq!(project.take_log(), "c");
}

#[test]
fn a_frozen_stage_cannot_be_forced_and_is_not_repaired() {
    let project = frozen_after_run();
    let ended = project.pipe(&["run", "--force=b"]).expect_code(2);
    assert!(ended.stderr.contains("stage `b` is frozen"), "{}", ended.stderr);
    for object in project.stored("objects") {
        if fs::read_to_string(&object).unwrap() == "1 one\n" {
            fs::remove_file(&object).unwrap();
            fs::write(&object, "1 eno\n").unwrap();
        }
    }
    fs::remove_file(project.path("c.txt")).unwrap();
    let run = project.expect_run(&["--force=c"], "a=hit b=failed b=hit c=skipped").expect_code(1);
    assert!(run.stdout.contains(", and it is frozen\""), "{}", run.stdout);
    assert_eq!(project.take_log(), "");
}

#[test]
fn an_always_stage_with_equal_bytes_does_not_rerun_its_readers() {
    let project = chain("always: true");
    project.run(&[]).expect_code(0);
    project.take_log();
    let run = project.expect_run(&[], "a=hit b=ran c=hit").expect_code(0);
    assert_eq!(run.about("stage_started", "b")["reason"]["reason"], "always");
    assert_eq!(project.take_log(), "b");
    let status = project.pipe(&["status", "--json"]).expect_code(0);
    assert_eq!(status.about("stage_planned", "b")["sentence"], "always");
    assert_eq!(status.about("stage_planned", "c")["may_be_cut_off"], true);
    // Changed bytes do.
    project.write(
        "pipeline.yaml",
        &with_b("always: true")
            .replace("echo b >>", "cat more; echo b >>")
            .replace("echo \"$P", "cat more >> $OUT_x; echo \"$P")
            .replace(
                "\" > \"$OUT_x\"\n    inputs: {x: a:x}",
                "\" >> \"$OUT_x\"\n    inputs: {x: a:x}",
            ),
    );
    project.write("more", "1\n");
    project.expect_run(&[], "a=hit b=ran c=ran").expect_code(0);
    project.write("more", "2\n");
    project.expect_run(&[], "a=hit b=ran c=ran").expect_code(0);
    assert_eq!(project.read("c.txt"), "2\n1 one\n");
}

#[test]
fn an_invalid_setting_is_refused_with_what_is_allowed() {
    for (line, expected) in [
        ("frozen: 1", "`frozen` of stage `b` is `1`, expected `true` or `false`"),
        ("retries: -1", "`retries` of stage `b` is `-1`, expected a whole number from 0 to 1000"),
        ("timeout: 30", "`timeout` of stage `b` is `30`, expected a duration such as `90s`"),
        ("timeout: soon", "`timeout` of stage `b` is `soon`, expected a duration"),
        ("timeout: 0s", "`timeout` of stage `b` is `0s`, expected a duration"),
        ("resources: gpu", "`resources` of stage `b` must be a map, not a text"),
        ("resources: {gpu: 0}", "`gpu` in `resources` of stage `b` is `0`, expected"),
        ("retris: 3", "did you mean `retries`?"),
        ("frozen: true\n    always: true", "stage `b` is both `frozen` and `always`"),
    ] {
        let ended = chain(line).pipe(&["status"]).expect_code(2);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    // Variables are filled in.
    let project = chain("timeout: ${limit}");
    project.write("pipeline.yaml", &format!("vars: {{limit: 1h}}{}", with_b("timeout: ${limit}")));
    project.run(&[]).expect_code(0);
}

fn retried(events: &[Value]) -> Vec<String> {
    let lines = events.iter().filter(|line| line["event"] == "stage_retried");
    lines.map(|line| format!("{} of {}", line["attempt"], line["attempts"])).collect()
}

#[test]
fn a_failed_process_is_retried_and_every_log_is_kept() {
    let project = Project::new(
        r#"
stages:
  flaky:
    run: echo try >> tries; n=$(wc -l < tries); echo "this is $n"; [ $n -ge 3 ] && echo $n > $OUT_x
    outputs: [x]
    retries: 2
"#,
    );
    let run = project.expect_run(&[], "flaky=ran").expect_code(0);
    assert_eq!(retried(&run.events()), ["2 of 3", "3 of 3"]);
    let first = run.about("stage_retried", "flaky");
    assert_eq!(first["message"], "exit code 1");
    assert_eq!(first["last_lines"][0], "this is 1");
    assert_eq!(fs::read_to_string(first["log"].as_str().unwrap()).unwrap(), "this is 1\n");
    assert_eq!(project.stored("logs").len(), 3);
    // With one attempt fewer the stage fails.
    project.write("tries", "");
    let yaml = project.read("pipeline.yaml").replace("retries: 2", "retries: 1");
    project.write("pipeline.yaml", &yaml);
    let run = project.pipe(&["run", "--force"]).expect_code(1);
    assert!(
        run.stderr.contains("stage `flaky` failed: exit code 1; attempt 2 of 2\n"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("error: stage `flaky` failed: exit code 1\n"), "{}", run.stderr);
}

#[test]
fn a_failure_that_would_repeat_is_not_retried() {
    for (run, message) in [
        ("run: no_such_command_at_all", "exit code 127 (command not found?)"),
        ("run: 'true'", "it did not write its output `x`"),
    ] {
        let yaml = format!("stages:\n  a: {{{run}, outputs: [x], retries: 3}}\n");
        let run = Project::new(&yaml).expect_run(&[], "a=failed").expect_code(1);
        assert_eq!(run.about("stage_finished", "a")["message"], message);
        assert_eq!(retried(&run.events()), [""; 0]);
    }
    // A built-in reports that its input is wrong, so a retry is pointless.
    let project = Project::new("stages:\n  ingest: {inputs: {train: t.jsonl}, retries: 3}\n");
    project.write("t.jsonl", "no json\n");
    let run = project.expect_run(&[], "ingest=failed").expect_code(1);
    assert_eq!(retried(&run.events()), [""; 0]);
}

#[test]
fn an_interrupted_stage_is_not_retried() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo at work; echo here > ready; cat gate', outputs: [x], retries: 5}\n",
    );
    project.fifo("ready");
    project.fifo("gate");
    let running = project.start(&[]);
    read_fifo(&project.path("ready"));
    running.signal(Signal::INT);
    let ended = running.end().expect_code(130);
    let finished = ended.about("stage_finished", "a");
    assert_eq!(finished["message"], "interrupted");
    assert_eq!(finished["last_lines"][0], "at work");
    assert!(finished["log"].as_str().unwrap().ends_with(".log"));
    assert_eq!(retried(&ended.events()), [""; 0]);
}

#[test]
fn a_stage_past_its_timeout_is_asked_to_end() {
    let project = Project::new(
        "stages:\n  a: {run: 'trap \"echo asked to end; exit 0\" TERM; echo begun; cat gate & wait', outputs: [x], timeout: 700ms}\n",
    );
    project.fifo("gate");
    let run = project.expect_run(&[], "a=failed").expect_code(1);
    let finished = run.about("stage_finished", "a");
    assert_eq!(finished["message"], "timed out after 700ms");
    assert_eq!(finished["last_lines"], serde_json::json!(["begun", "asked to end"]));
}

#[test]
fn a_stage_that_ignores_its_timeout_is_killed() {
    let project = Project::new(
        "stages:\n  a: {run: 'trap \"\" TERM; cat gate; cat gate', outputs: [x], timeout: 300ms, retries: 1}\n",
    );
    project.fifo("gate");
    let run = project.expect_run(&[], "a=failed").expect_code(1);
    assert_eq!(run.about("stage_finished", "a")["message"], "timed out after 300ms");
    // Each attempt has the full timeout.
    assert_eq!(retried(&run.events()), ["2 of 2"]);
}

#[test]
fn a_stage_within_its_time_is_left_alone() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo here > ready; cat gate > $OUT_x', outputs: [x], timeout: 1h}\n",
    );
    project.fifo("ready");
    project.fifo("gate");
    let running = project.start(&[]);
    read_fifo(&project.path("ready"));
    open_gate(&project.path("gate"));
    assert_eq!(running.end().expect_code(0).outcomes(), "a=ran");
}

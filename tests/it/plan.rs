//! What `status`, `explain` and `--dry-run` predict, and that they write nothing.

use crate::harness::Project;

const PIPELINE: &str = r#"
stages:
  a:
    run: cat "$IN_text" > "$OUT_copy"
    inputs: {text: text.txt}
    outputs: [copy]
  b:
    run: cat "$IN_copy" > "$OUT_result"
    inputs: {copy: a:copy}
    params: {learning_rate: 2.0e-5}
    outputs: [result]
    publish: {result: result.txt}
  c:
    run: cat "$IN_result" > "$OUT_end"
    inputs: {result: b:result}
    outputs: [end]
"#;

fn project() -> Project {
    let project = Project::new(PIPELINE);
    project.write("text.txt", "some text\n");
    project
}

fn after_run() -> Project {
    let project = project();
    project.run(&[]).expect_code(0);
    project
}

#[test]
fn planning_writes_nothing() {
    let project = project();
    for command in [
        &["status"][..],
        &["status", "--json"],
        &["explain", "b"],
        &["graph"],
        &["run", "--dry-run"],
        &["run", "--dry-run", "--json"],
        &["cache", "ls"],
        &["stages"],
    ] {
        project.pipe(command).expect_code(0);
        assert!(!project.path("cache").exists(), "{command:?}");
        assert!(!project.path("result.txt").exists(), "{command:?}");
    }
}

#[test]
fn status_of_a_fresh_project_says_that_nothing_ever_ran() {
    let status = project().pipe(&["status"]).expect_code(0);
    assert!(status.stdout.contains("a  never ran"), "{}", status.stdout);
    assert!(status.stdout.contains("b  after a: never ran"), "{}", status.stdout);
    assert!(status.stdout.contains("to run: a, b and c"), "{}", status.stdout);
}

#[test]
fn a_changed_parameter_is_told_as_from_and_to() {
    let project = after_run();
    let set = ["--set", "b.learning_rate=3e-5"];
    let status = project.pipe(&[&["status"][..], &set].concat()).expect_code(0);
    assert!(status.stdout.contains("learning_rate 2e-5 → 3e-5"), "{}", status.stdout);
    assert!(status.stdout.contains("c  waits for b, may be cut off"), "{}", status.stdout);
    let explain = project.pipe(&[&["explain", "b"][..], &set].concat()).expect_code(0);
    assert!(
        explain.stdout.starts_with("b will run: learning_rate 2e-5 → 3e-5\n"),
        "{}",
        explain.stdout
    );
}

#[test]
fn a_dry_run_tells_the_whole_cascade_and_its_cost() {
    let project = after_run();
    let run = project.pipe(&["run", "--dry-run", "--set", "b.learning_rate=1"]).expect_code(0);
    let last = run.stdout.lines().last().unwrap();
    assert!(last.starts_with("would run b and c: about "), "{last}");
    assert!(last.ends_with(" ms at most; 1 stage is up to date"), "{last}");
}

#[test]
fn an_input_that_changed_is_named_with_its_file() {
    let project = after_run();
    project.write("text.txt", "other text\n");
    let status = project.pipe(&["status"]).expect_code(0);
    assert!(status.stdout.contains("input `text` changed (text.txt)"), "{}", status.stdout);
}

#[test]
fn a_waiting_stage_that_runs_in_any_case_says_why() {
    let project = after_run();
    project.write("text.txt", "other text\n");
    let status = project.pipe(&["status", "--json", "--set", "b.learning_rate=1"]).expect_code(0);
    let b = status.about("stage_planned", "b");
    assert_eq!(b["decision"], "wait");
    assert_eq!(b["waits_for"][0], "a");
    assert_eq!(b["may_be_cut_off"], false);
    assert_eq!(b["why"]["changes"][0]["name"], "learning_rate");
    let c = status.about("stage_planned", "c");
    assert_eq!(c["may_be_cut_off"], true);
}

#[test]
fn every_field_of_the_key_is_told_when_it_changes() {
    let project = after_run();
    let replaced = [
        (r#"cat "$IN_result""#, r#"sort "$IN_result""#, "command changed"),
        ("outputs: [end]", "outputs: [end, more]", "output `more` added"),
        ("outputs: [end]", "outputs: [fin]", "output `end` removed, output `fin` added"),
        ("outputs: [end]", "outputs: [end]\n    salt: again", "salt added (again)"),
        ("outputs: [end]", "outputs: [end]\n    params: {x: 1}", "x added (1)"),
        (
            "outputs: [end]",
            "outputs: [end]\n    env: [PIPE_TEST_WORD]",
            "$PIPE_TEST_WORD added (hi)",
        ),
        ("{result: b:result}", "{result: b:result, t: text.txt}", "input `t` added (text.txt)"),
        (
            "{result: b:result}",
            "{other: b:result}",
            "input `other` added (b:result), input `result` removed",
        ),
    ];
    for (from, to, expected) in replaced {
        project.write("pipeline.yaml", &PIPELINE.replace(from, to));
        let status = project.pipe_with(&["explain", "--json", "c"], &[("PIPE_TEST_WORD", "hi")]);
        let sentence = status.expect_code(0).about("stage_planned", "c")["sentence"].clone();
        assert_eq!(sentence, expected);
    }
}

#[test]
fn the_nearest_earlier_record_is_compared_with() {
    let project = after_run();
    project.run(&["--set", "b.learning_rate=5e-5"]).expect_code(0);
    project.write("text.txt", "other text\n");
    project.run(&["--set", "b.learning_rate=7e-5"]).expect_code(0);
    // The newest record differs in the parameter only, the older ones in the input too.
    let explain = project.pipe(&["explain", "--json", "b"]).expect_code(0);
    assert_eq!(explain.about("stage_planned", "b")["sentence"], "learning_rate 7e-5 → 2e-5");
}

#[test]
fn explain_shows_both_texts_of_a_command() {
    let project = after_run();
    project.write("pipeline.yaml", &PIPELINE.replace(r#"cat "$IN_text""#, r#"sort "$IN_text""#));
    let explain = project.pipe(&["explain", "a"]).expect_code(0);
    assert!(explain.stdout.contains("    - cat \"$IN_text\""), "{}", explain.stdout);
    assert!(explain.stdout.contains("    + sort \"$IN_text\""), "{}", explain.stdout);
}

#[test]
fn explain_of_a_stage_that_is_up_to_date_tells_of_its_run() {
    let explain = after_run().pipe(&["explain", "b"]).expect_code(0);
    assert!(explain.stdout.starts_with("b is up to date\n"), "{}", explain.stdout);
    assert!(explain.stdout.contains("output result: "), "{}", explain.stdout);
}

#[test]
fn a_missing_source_is_refused_before_anything_runs() {
    let project = project();
    std::fs::remove_file(project.path("text.txt")).unwrap();
    let run = project.pipe(&["run"]).expect_code(2);
    assert!(run.stderr.contains("input `text` of stage `a`"), "{}", run.stderr);
    assert!(run.stderr.contains("text.txt"), "{}", run.stderr);
    assert!(!project.path("cache").exists());
}

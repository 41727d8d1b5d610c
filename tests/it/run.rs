//! What runs, what is a hit, what is cut off, and what a failure leaves.

use std::fs;

use crate::harness::Project;

/// `a` copies a file, `b` counts its lines, `c` adds a parameter, `d` stands apart.
const CHAIN: &str = r#"
stages:
  a:
    run: echo a >> ran.log; cat "$IN_text" > "$OUT_copy"
    inputs: {text: text.txt}
    outputs: [copy]
  b:
    run: echo b >> ran.log; wc -l < "$IN_copy" > "$OUT_lines"
    inputs: {copy: a:copy}
    outputs: [lines]
  c:
    run: echo c >> ran.log; echo "$PARAM_rate $(cat "$IN_lines")" > "$OUT_result"
    inputs: {lines: b:lines}
    params: {rate: 2.0e-5}
    outputs: [result]
    publish: {result: results/c.txt}
  d:
    run: echo d >> ran.log; mkdir "$OUT_folder"; echo 1 > "$OUT_folder/one"; echo 1 > "$OUT_folder/uno"
    outputs: [folder]
"#;

fn chain() -> Project {
    let project = Project::new(CHAIN);
    project.write("text.txt", "one\ntwo\n");
    project
}

#[test]
fn a_hit_skips_execution() {
    let project = chain();
    project.expect_run(&[], "a=ran b=ran c=ran d=ran").expect_code(0);
    assert_eq!(project.take_log(), "a b c d");
    let second = project.expect_run(&[], "a=hit b=hit c=hit d=hit").expect_code(0);
    assert_eq!(project.take_log(), "");
    assert_eq!(second.summary()["hits"], 4);
    assert_eq!(second.summary()["ran"], 0);
}

#[test]
fn a_second_run_says_in_one_line_that_nothing_had_to_be_done() {
    let project = chain();
    project.run(&[]).expect_code(0);
    let second = project.pipe(&["run"]).expect_code(0);
    assert_eq!(second.stdout, "");
    assert_eq!(second.stderr.lines().count(), 1, "{}", second.stderr);
    assert!(second.stderr.starts_with("nothing to do: all 4 stages are up to date"));
}

#[test]
fn a_changed_parameter_reruns_only_what_it_touches() {
    let project = chain();
    project.run(&[]).expect_code(0);
    project.take_log();
    let run = project.expect_run(&["--set", "c.rate=3e-5"], "a=hit b=hit c=ran d=hit");
    assert_eq!(project.take_log(), "c");
    let change = &run.about("stage_started", "c")["reason"]["changes"][0];
    assert_eq!(change["name"], "rate");
    assert_eq!(change["from"], 2e-5);
    assert_eq!(change["to"], 3e-5);
    // Changing back: the old record is still there, and the old output is published again.
    assert_eq!(project.read("results/c.txt"), "3e-05 2\n".replace("3e-05", "0.00003"));
    project.expect_run(&[], "a=hit b=hit c=hit d=hit");
    assert_eq!(project.read("results/c.txt"), "0.00002 2\n");
}

#[test]
fn equal_bytes_cut_the_rebuild_off() {
    let project = chain();
    project.run(&[]).expect_code(0);
    project.take_log();
    // Other words but the same number of lines: `a` and `b` run, `c` sees equal bytes.
    project.write("text.txt", "three\nfour\n");
    project.expect_run(&[], "a=ran b=ran c=hit d=hit");
    assert_eq!(project.take_log(), "a b");
}

#[test]
fn a_renamed_stage_is_a_hit() {
    let project = chain();
    project.run(&[]).expect_code(0);
    let renamed = CHAIN.replace("  a:\n", "  first:\n").replace("a:copy", "first:copy");
    project.write("pipeline.yaml", &renamed);
    project.expect_run(&[], "b=hit c=hit d=hit first=hit");
    // From now on the renamed stage has a record to compare with.
    project.write("text.txt", "changed\n");
    let run = project.run(&[]).expect_code(0);
    assert_eq!(run.about("stage_started", "first")["reason"]["changes"][0]["field"], "input");
}

#[test]
fn only_the_named_stages_and_what_they_need_run() {
    let project = chain();
    project.expect_run(&["b"], "a=ran b=ran").expect_code(0);
    assert_eq!(project.take_log(), "a b");
}

#[test]
fn force_runs_the_named_stage_again_but_not_what_it_needs() {
    let project = chain();
    project.run(&[]).expect_code(0);
    project.take_log();
    project.expect_run(&["--force", "b"], "a=hit b=ran");
    assert_eq!(project.take_log(), "b");
    project.expect_run(&["--force"], "a=ran b=ran c=ran d=ran");
}

#[test]
fn a_failure_leaves_nothing_and_skips_what_needs_it() {
    let project = chain();
    let broken = CHAIN.replace(
        "wc -l < \"$IN_copy\" > \"$OUT_lines\"",
        "echo half > \"$OUT_lines\"; echo went wrong >&2; exit 3",
    );
    project.write("pipeline.yaml", &broken);
    let run =
        project.expect_run(&["--keep-going"], "a=ran b=failed c=skipped d=ran").expect_code(1);
    let failed = run.about("stage_finished", "b");
    assert_eq!(failed["message"], "exit code 3");
    assert_eq!(failed["last_lines"][0], "went wrong");
    assert_eq!(fs::read_to_string(failed["log"].as_str().unwrap()).unwrap(), "went wrong\n");
    assert!(!project.path("results/c.txt").exists());
    assert_eq!(project.entries("tmp").len(), 0);
    // The half-written output is ignored.
    project.write("pipeline.yaml", CHAIN);
    project.expect_run(&[], "a=hit b=ran c=ran d=hit").expect_code(0);
}

#[test]
fn without_keep_going_nothing_new_starts_after_a_failure() {
    let project = Project::new(
        "stages:\n  bad: {run: exit 1, outputs: [x]}\n  good: {run: touch $OUT_x, outputs: [x]}\n",
    );
    project.expect_run(&["--jobs", "1"], "bad=failed good=skipped").expect_code(1);
    project.expect_run(&["--jobs", "1", "--keep-going"], "bad=failed good=ran").expect_code(1);
}

#[test]
fn a_stage_killed_by_a_signal_is_reported_as_that() {
    let project = Project::new("stages:\n  bad: {run: 'kill -9 $$', outputs: [x]}\n");
    let run = project.run(&[]).expect_code(1);
    let message = run.about("stage_finished", "bad")["message"].clone();
    assert_eq!(message, "killed by signal 9 (by a user, or out of memory)");
}

#[test]
fn a_missing_output_fails_the_stage_and_names_the_variable() {
    let project = Project::new("stages:\n  bad: {run: 'true', outputs: [x]}\n");
    let run = project.pipe(&["run"]).expect_code(1);
    assert!(run.stderr.contains("it did not write its output `x`"), "{}", run.stderr);
    assert!(run.stderr.contains("`$OUT_x`"), "{}", run.stderr);
}

#[test]
fn a_source_that_changes_while_a_stage_runs_fails_it() {
    let project = Project::new(
        "stages:\n  a: {run: 'cp $IN_t $OUT_x; echo more >> text.txt', inputs: {t: text.txt}, outputs: [x]}\n",
    );
    project.write("text.txt", "one\n");
    let run = project.run(&[]).expect_code(1);
    let message = run.about("stage_finished", "a")["message"].to_string();
    assert!(message.contains("changed while it ran"), "{message}");
    assert_eq!(project.stored("records").len(), 0);
}

#[test]
fn a_stage_finds_its_parameters_and_declared_variables_in_the_environment() {
    let project = Project::new(
        r#"
stages:
  a:
    run: echo "$PARAM_text|$PARAM_number|$PARAM_list|$PARAM_flag|$WORD" > "$OUT_x"
    params: {text: "two words", number: 0.5, list: [1, b], flag: true}
    env: [WORD]
    outputs: [x]
    publish: {x: x.txt}
"#,
    );
    project.pipe_with(&["run"], &[("WORD", "here")]).expect_code(0);
    assert_eq!(project.read("x.txt"), "two words|0.5|[1,\"b\"]|true|here\n");
    let status = project.pipe_with(&["status"], &[("WORD", "there")]);
    assert!(status.stdout.contains("$WORD here → there"), "{}", status.stdout);
}

#[test]
fn a_stage_sees_a_folder_as_a_folder_and_cannot_write_into_the_store() {
    let project = Project::new(
        r#"
stages:
  a: {run: 'mkdir -p $OUT_d/sub; echo 1 > $OUT_d/one; echo 2 > $OUT_d/sub/two', outputs: [d]}
  b: {run: 'cat $IN_d/one $IN_d/sub/two > $OUT_x; rm $IN_d/one; echo 9 > $IN_d/one', inputs: {d: a:d}, outputs: [x], publish: {x: x.txt}}
"#,
    );
    project.expect_run(&[], "a=ran b=ran").expect_code(0);
    assert_eq!(project.read("x.txt"), "1\n2\n");
    // What `b` did to its links did not change the store.
    project.expect_run(&["--force", "b"], "a=hit b=ran").expect_code(0);
    assert_eq!(project.read("x.txt"), "1\n2\n");
}

#[test]
fn a_linked_output_is_copied_and_its_target_stays() {
    let project = Project::new(
        r#"
stages:
  a:
    run: mkdir "$OUT_d"; ln -s "$PWD/mine" "$OUT_d/linked"; ln -s "$PWD/mine/file" "$OUT_f"; ln "$PWD/mine/file" "$OUT_hard"
    outputs: [d, f, hard]
"#,
    );
    project.write("mine/file", "mine\n");
    let run = project.expect_run(&[], "a=ran").expect_code(0);
    assert_eq!(project.read("mine/file"), "mine\n");
    project.write("mine/file", "changed\n");
    let outputs = &run.digests()["a"];
    assert_eq!(outputs["f"], outputs["hard"]);
    assert_eq!(project.pipe(&["cache", "cat", "a:hard"]).stdout, "mine\n");
    assert_eq!(project.pipe(&["cache", "cat", "a:f"]).stdout, "mine\n");
}

#[test]
fn the_number_of_jobs_does_not_change_any_digest() {
    let wide: String = (0..8)
        .map(|n| format!("  s{n}: {{run: 'mkdir $OUT_d; for i in 1 2 3; do echo {n} $i > $OUT_d/$i; done', outputs: [d]}}\n"))
        .collect();
    let inputs: Vec<String> = (0..8).map(|n| format!("i{n}: s{n}:d")).collect();
    let all = format!(
        "  all: {{run: 'cat $IN_i0/* $IN_i7/* > $OUT_x', inputs: {{{}}}, outputs: [x]}}\n",
        inputs.join(", ")
    );
    let yaml = format!("stages:\n{wide}{all}");
    let digests = |jobs: &str| {
        let project = Project::new(&yaml);
        project.run(&["--jobs", jobs]).expect_code(0).digests()
    };
    let one = digests("1");
    assert_eq!(one.len(), 9);
    assert_eq!(one, digests("4"));
    assert_eq!(one, digests("32"));
}

#[test]
fn the_same_key_wanted_by_two_stages_is_computed_once() {
    let project = Project::new(
        r#"
stages:
  a: {run: 'echo ran >> ran.log; echo 1 > $OUT_x', outputs: [x]}
  b: {run: 'echo ran >> ran.log; echo 1 > $OUT_x', outputs: [x]}
"#,
    );
    project.run(&["--jobs", "2"]).expect_code(0);
    assert_eq!(project.take_log(), "ran");
}

#[test]
fn a_long_chain_of_stages_runs_and_is_skipped() {
    let mut yaml = "stages:\n  s0: {run: 'echo 0 > $OUT_x', outputs: [x]}\n".to_owned();
    for n in 1..60 {
        yaml += &format!(
            "  s{n}: {{run: '(cat $IN_x; echo {n}) > $OUT_x', inputs: {{x: s{}:x}}, outputs: [x]}}\n",
            n - 1
        );
    }
    let project = Project::new(&yaml);
    assert_eq!(project.run(&[]).expect_code(0).summary()["ran"], 60);
    assert_eq!(project.run(&[]).expect_code(0).summary()["hits"], 60);
    project.write("pipeline.yaml", &yaml.replace("echo 0 >", "exit 1 #"));
    assert_eq!(project.run(&[]).expect_code(1).summary()["skipped"], 59);
}

//! Running a part of the pipeline: `--until`, `--downstream`, `--only` and `--force`.

use crate::harness::Project;

/// `a`, `b` and `c` in a chain; `side` reads `a` too; `d` is independent.
const PIPELINE: &str = r#"
stages:
  a: {run: 'echo a >> ran.log; cat $IN_t > $OUT_x', inputs: {t: text.txt}, outputs: [x]}
  b: {run: 'echo b >> ran.log; cat $IN_x > $OUT_x', inputs: {x: a:x}, outputs: [x]}
  c: {run: 'echo c >> ran.log; cat $IN_x > $OUT_x', inputs: {x: b:x}, outputs: [x], publish: {x: c.txt}}
  side: {run: 'echo side >> ran.log; cat $IN_x > $OUT_x', inputs: {x: a:x}, outputs: [x]}
  d: {run: 'echo d >> ran.log; echo d > $OUT_x', outputs: [x]}
"#;

fn project() -> Project {
    let project = Project::new(PIPELINE);
    project.write("text.txt", "one\n");
    project
}

fn after_run() -> Project {
    let project = project();
    project.run(&[]).expect_code(0);
    project.take_log();
    project
}

#[test]
fn until_runs_a_stage_and_what_it_needs_and_stops_there() {
    project().expect_run(&["--until", "b"], "a=ran b=ran").expect_code(0);
    project().expect_run(&["--until", "b", "d"], "a=ran b=ran d=ran").expect_code(0);
}

#[test]
fn downstream_runs_a_stage_and_all_that_reads_from_it_with_what_they_need() {
    project().expect_run(&["--downstream", "b"], "a=ran b=ran c=ran").expect_code(0);
    let project = after_run();
    project.write("text.txt", "two\n");
    project.expect_run(&["--downstream", "side"], "a=ran side=ran").expect_code(0);
    project.expect_run(&["--downstream", "a"], "a=hit b=ran c=ran side=hit").expect_code(0);
}

#[test]
fn downstream_and_until_run_what_lies_between() {
    project().expect_run(&["--downstream", "a", "--until", "b"], "a=ran b=ran").expect_code(0);
    project().expect_run(&["--downstream", "a", "side"], "a=ran side=ran").expect_code(0);
    let ended = project().pipe(&["run", "--downstream", "c", "--until", "a"]).expect_code(2);
    assert!(
        ended.stderr.contains("no stage lies between `--downstream c` and `a`"),
        "{}",
        ended.stderr
    );
}

#[test]
fn only_runs_that_stage_alone() {
    let project = after_run();
    project.write("pipeline.yaml", &PIPELINE.replace("echo b >>", "echo  b >>"));
    project.expect_run(&["--only", "b"], "a=hit b=ran").expect_code(0);
    project.expect_run(&["--only", "c", "b", "--force"], "a=hit b=ran c=ran").expect_code(0);
    assert_eq!(project.take_log(), "b b c");
}

#[test]
fn only_says_what_has_to_run_first() {
    let project = after_run();
    project.write("text.txt", "two\n");
    for command in [&["run", "--only", "c"][..], &["run", "--dry-run", "--only", "c"]] {
        let ended = project.pipe(command).expect_code(2);
        let expected = "`--only c`: it reads from `b`, which is not up to date: waits for a";
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
        assert!(ended.stderr.contains("`pipe run b` first"), "{}", ended.stderr);
    }
    assert_eq!(project.take_log(), "");
    // Once those have run, `--only` works.
    project.run(&["b"]).expect_code(0);
    project.expect_run(&["--only", "c"], "a=hit b=hit c=ran").expect_code(0);
}

#[test]
fn only_never_repairs_another_stage() {
    let project = after_run();
    let object = project.stored("objects").into_iter().find(|path| {
        std::fs::read_to_string(path).unwrap() == "one\n" && !path.to_str().unwrap().ends_with("t")
    });
    let object = object.unwrap();
    std::fs::remove_file(&object).unwrap();
    std::fs::write(&object, "eno\n").unwrap();
    let ended = project.expect_run(&["--only", "c", "--force"], "a=hit b=failed b=hit c=skipped");
    let expected = "it is not named by `--only`";
    assert!(ended.expect_code(1).stdout.contains(expected));
    assert_eq!(project.take_log(), "");
}

#[test]
fn only_excludes_the_other_selections() {
    for other in [&["--until", "b"][..], &["--downstream", "b"]] {
        project().pipe(&[&["run", "--only", "a"][..], other].concat()).expect_code(2);
    }
}

#[test]
fn force_with_a_stage_forces_that_one_in_a_run_of_all() {
    let project = after_run();
    project.expect_run(&["--force=b"], "a=hit b=ran c=hit d=hit side=hit");
    project.expect_run(&["--force=b", "--force=d"], "a=hit b=ran c=hit d=ran side=hit");
    assert_eq!(project.take_log(), "b b d");
}

#[test]
fn force_followed_by_a_stage_name_runs_that_stage_forced() {
    let project = after_run();
    project.expect_run(&["--force", "b"], "a=hit b=ran");
    project.expect_run(&["b", "--force"], "a=hit b=ran");
    project.expect_run(&["--force", "--downstream", "b"], "a=hit b=ran c=hit");
    project.expect_run(&["--force"], "a=ran b=ran c=ran d=ran side=ran");
}

#[test]
fn a_forced_stage_outside_of_the_run_is_refused() {
    let ended = after_run().pipe(&["run", "b", "--force=d"]).expect_code(2);
    assert!(ended.stderr.contains("this stage is not part of the run"), "{}", ended.stderr);
}

#[test]
fn only_the_published_files_of_a_forced_stage_are_overwritten() {
    let project = after_run();
    project.write("c.txt", "edited\n");
    project.run(&["--force=b"]).expect_code(0);
    assert_eq!(project.read("c.txt"), "edited\n");
    project.run(&["--force=c"]).expect_code(0);
    assert_eq!(project.read("c.txt"), "one\n");
}

#[test]
fn every_option_suggests_the_nearest_name_for_a_misspelt_stage() {
    let project = project();
    for option in ["--until=sidee", "--downstream=sidee", "--only=sidee", "--force=sidee"] {
        let ended = project.pipe(&["run", option]).expect_code(2);
        assert!(ended.stderr.contains("there is no stage `sidee`"), "{}", ended.stderr);
        assert!(ended.stderr.contains("did you mean `side`?"), "{}", ended.stderr);
    }
    project.pipe(&["run", "--force="]).expect_code(2);
    assert!(!project.path("cache").exists());
}

#[test]
fn a_dry_run_shows_the_same_stages() {
    let project = after_run();
    let planned = |arguments: &[&str]| {
        let ended = project.pipe(&[&["run", "--dry-run", "--json"], arguments].concat());
        let line = |line: &serde_json::Value| format!("{}={}", line["stage"], line["decision"]);
        let mut lines: Vec<String> = ended.expect_code(0).events().iter().map(line).collect();
        lines.sort();
        lines.join(" ").replace('"', "")
    };
    assert_eq!(planned(&["--until", "b"]), "a=hit b=hit");
    assert_eq!(planned(&["--downstream", "b"]), "a=hit b=hit c=hit");
    assert_eq!(planned(&["--force=b"]), "a=hit b=run c=wait d=hit side=hit");
    assert_eq!(planned(&["--only", "c", "--force"]), "a=hit b=hit c=run");
}

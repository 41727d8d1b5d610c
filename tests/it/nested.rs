//! A stage that calls `pipe` for the project that it belongs to.

use crate::harness::Project;

#[track_caller]
fn project(command: &str) -> Project {
    let pipe = env!("CARGO_BIN_EXE_pipe");
    let run =
        format!("echo \"run {command}\" >> ran.log; {pipe} {command} 2> told; echo $? > $OUT_x");
    Project::new(&format!(
        "stages:\n  inner: {{run: '{run}', outputs: [x], publish: {{x: code}}}}\n  other: {{run: echo > $OUT_x, outputs: [x]}}\n"
    ))
}

#[test]
fn a_command_that_would_wait_for_its_own_stage_says_so() {
    for command in [
        "run inner",
        "run other",
        "run",
        "watch",
        "verify inner",
        "cache gc --wait",
        "cache verify --repair --wait",
        "-C folder run",
        "run --cache cache",
    ] {
        let project = project(command);
        project.write("folder/x", "");
        project.run(&["inner"]).expect_code(0);
        assert_eq!(project.read("code"), "2\n", "{command}: {}", project.read("told"));
        let told = project.read("told");
        assert!(told.contains("inside a stage of the same project"), "{command}: {told}");
        assert!(told.contains("hint: "), "{command}: {told}");
    }
}

#[test]
fn a_command_that_only_looks_or_uses_another_store_works_inside_a_stage() {
    for command in ["status", "run --dry-run", "run other --cache elsewhere", "explain other"] {
        let project = project(command);
        project.run(&["inner"]).expect_code(0);
        assert_eq!(project.read("code"), "0\n", "{command}: {}", project.read("told"));
    }
}

//! Counted resources that stages share: within a run, and between engines.

use rustix::process::Signal;

use crate::harness::{Ended, Project, Watch, open_gate, read_fifo};

/// `a` and `b` want the GPU and wait for their gates; `c` wants nothing.
const TWO: &str = r#"
stages:
  a: {run: 'exec 3<> alive; echo here > a-ready; cat a-gate > $OUT_x', outputs: [x], resources: {gpu: 1}}
  b: {run: 'echo here > b-ready; cat b-gate > $OUT_x', outputs: [x], resources: {gpu: 1}}
  c: {run: 'echo c > $OUT_x', outputs: [x]}
"#;

fn two() -> Project {
    let project = Project::new(TWO);
    for name in ["a-ready", "a-gate", "b-ready", "b-gate", "alive"] {
        project.fifo(name);
    }
    project
}

fn go_through(project: &Project, stage: &str) {
    read_fifo(&project.path(&format!("{stage}-ready")));
    open_gate(&project.path(&format!("{stage}-gate")));
}

/// The position of a stage's start or end among the events.
fn place(ended: &Ended, event: &str, stage: &str) -> usize {
    let events = ended.events();
    events.iter().position(|line| line["event"] == event && line["stage"] == stage).unwrap()
}

#[test]
fn two_stages_never_hold_the_same_gpu() {
    let project = two();
    let mut running = project.start(&["--jobs", "3"]);
    // Stages start in the order of the file: when `c` has started, `b` has been passed over.
    loop {
        assert!(running.read_line());
        let last = running.seen.last().unwrap();
        if last["event"] == "stage_started" && last["stage"] == "c" {
            break;
        }
        assert_ne!(last["stage"], "b");
    }
    go_through(&project, "a");
    go_through(&project, "b");
    let ended = running.end().expect_code(0);
    assert_eq!(ended.outcomes(), "a=ran b=ran c=ran");
    assert!(place(&ended, "stage_started", "b") > place(&ended, "stage_finished", "a"));
    assert_eq!(project.entries("locks").len(), 0);
}

#[test]
fn with_two_gpus_they_run_side_by_side_and_each_sees_its_own() {
    let project = Project::new(
        r#"
stages:
  a: {run: 'echo here > met; echo $CUDA_VISIBLE_DEVICES > $OUT_x', outputs: [x], resources: {gpu: 1}, publish: {x: a.txt}}
  b: {run: 'cat met; echo $CUDA_VISIBLE_DEVICES > $OUT_x', outputs: [x], resources: {gpu: 1}, publish: {x: b.txt}}
"#,
    );
    // One stage waits for the other, so this ends only if both run at once.
    project.fifo("met");
    let arguments = ["run", "--jobs", "2", "--resource", "gpu=2", "--force"];
    let unset = [("CUDA_VISIBLE_DEVICES", "4,6")];
    project.pipe_with(&arguments, &unset).expect_code(0);
    assert_eq!(project.read("a.txt") + &project.read("b.txt"), "4\n6\n");
    let ended = project.pipe_with(&arguments, &[("CUDA_VISIBLE_DEVICES", "4")]).expect_code(2);
    assert!(ended.stderr.contains("but `CUDA_VISIBLE_DEVICES` is `4`"), "{}", ended.stderr);
    // A device that the user has named is not hidden.
    for device in ["cuda:1", "vulkan:1"] {
        let named = [&arguments[..], &["--device", device]].concat();
        project.pipe_with(&named, &unset).expect_code(0);
        assert_eq!(project.read("a.txt") + &project.read("b.txt"), "4,6\n4,6\n", "{device}");
    }
}

#[test]
fn the_pipeline_says_how_many_there_are_and_the_command_line_may_say_otherwise() {
    let yaml = "resources: {licence: 2}\nstages:\n  a: {run: 'echo 1 > $OUT_x', outputs: [x], resources: {licence: 2}}\n";
    Project::new(yaml).expect_run(&[], "a=ran").expect_code(0);
    let too_few = Project::new(yaml).pipe(&["run", "--resource", "licence=1"]).expect_code(2);
    assert!(
        too_few
            .stderr
            .contains("stage `a` (line 3) requests 2 of the resource `licence`, but there is 1"),
        "{}",
        too_few.stderr
    );
    // An undeclared resource has one unit.
    let undeclared = Project::new(&yaml.replace("resources: {licence: 2}\n", ""));
    for arguments in [&["run"][..], &["run", "--dry-run"]] {
        let ended = undeclared.pipe(arguments).expect_code(2);
        assert!(ended.stderr.contains("`--resource licence=2`"), "{}", ended.stderr);
    }
    undeclared.expect_run(&["--resource", "licence=2"], "a=ran").expect_code(0);
}

#[test]
fn a_misspelt_resource_is_told_with_its_nearest_name() {
    let yaml = "resources: {gpu: 1}\nstages:\n  a: {run: 'true', resources: {gpus: 1}}\n";
    let ended = Project::new(yaml).pipe(&["status"]).expect_code(2);
    assert!(ended.stderr.contains("wants the resource `gpus`, which is not"), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `gpu`?"), "{}", ended.stderr);
    let ended = two().pipe(&["run", "--resource", "gpus=2"]).expect_code(2);
    assert!(ended.stderr.contains("no stage requests a resource `gpus`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("did you mean `gpu`?"), "{}", ended.stderr);
    for wrong in ["gpu", "gpu=", "=2", "gpu=many", "gpu=-1"] {
        two().pipe(&["run", "--resource", wrong]).expect_code(2);
    }
}

#[test]
fn a_stage_takes_all_its_units_or_none_and_nobody_waits_for_ever() {
    // Each stage wants some units of both resources; all stages finish, whatever the order.
    let stages: String = (0..12)
        .map(|n| {
            let (x, y) = (1 + n % 3, 1 + n / 3 % 2);
            format!("  s{n}: {{run: 'echo {n} > $OUT_x', outputs: [x], resources: {{x: {x}, y: {y}}}}}\n")
        })
        .collect();
    let project = Project::new(&format!("resources: {{x: 3, y: 2}}\nstages:\n{stages}"));
    let running: Vec<_> = (0..3).map(|_| project.start(&["--jobs", "4", "--force"])).collect();
    for running in running {
        assert_eq!(running.end().expect_code(0).summary()["failed"], 0);
    }
    assert_eq!(project.entries("locks").len(), 0);
}

#[test]
fn two_engines_share_the_count_and_the_second_says_that_it_waits() {
    let project = two();
    let first = project.start(&["a"]);
    read_fifo(&project.path("a-ready"));
    let mut second = project.start(&["b"]);
    assert!(second.read_until("stage_waiting"));
    let message = second.seen.last().unwrap()["message"].clone();
    assert_eq!(message, "another `pipe` holds the resource `gpu`");
    open_gate(&project.path("a-gate"));
    assert_eq!(first.end().expect_code(0).outcomes(), "a=ran");
    go_through(&project, "b");
    assert_eq!(second.end().expect_code(0).outcomes(), "b=ran");
}

#[test]
fn a_killed_engine_gives_its_units_back() {
    let project = two();
    let alive = Watch::new(&project.path("alive"));
    let first = project.start(&["a"]);
    read_fifo(&project.path("a-ready"));
    let mut second = project.start(&["b"]);
    assert!(second.read_until("stage_waiting"));
    first.signal(Signal::KILL);
    first.end();
    alive.wait();
    go_through(&project, "b");
    second.end().expect_code(0);
}

#[test]
fn an_engine_that_waits_for_a_unit_can_be_interrupted() {
    let project = two();
    let first = project.start(&["a"]);
    read_fifo(&project.path("a-ready"));
    let mut second = project.start(&["b"]);
    assert!(second.read_until("stage_waiting"));
    second.signal(Signal::INT);
    assert_eq!(second.end().expect_code(130).outcomes(), "b=skipped");
    open_gate(&project.path("a-gate"));
    first.end().expect_code(0);
}

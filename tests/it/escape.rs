//! Nothing of a stage outlives it, and what it makes of its folder does no harm. No test sleeps: what
//! a stage leaves running holds a named pipe open, and says through another one that it runs.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Project, Watch, open_gate, read_fifo};

/// What is left running: it ignores all signals that can be ignored.
const LEFT: &str =
    r#"exec 3> alive; trap "" TERM HUP INT; echo here > ready; cat never; cat never"#;

/// A project whose stage `a` starts [`LEFT`] by `how`, which has `LEFT` in its place, waits until
/// it runs, and then does `then`.
#[track_caller]
fn leaving(how: &str, then: &str, handling: &str) -> Project {
    let project = Project::new(&format!(
        "stages:\n  a:\n    run: |\n      {}\n      read line < ready\n      {then}\n    outputs: [x]\n{handling}",
        how.replace("LEFT", &format!("sh -c '{LEFT}'"))
    ));
    for name in ["ready", "alive", "never", "gate"] {
        project.fifo(name);
    }
    project
}

const WAYS: [&str; 4] = [
    "setsid LEFT &",
    "( ( setsid LEFT & ) & )",
    "setsid setsid LEFT > /dev/null 2>&1 < /dev/null &",
    "env -i PATH=\"$PATH\" setsid LEFT &",
];

#[test]
fn what_left_the_session_ends_with_the_stage() {
    for way in WAYS {
        let project = leaving(way, "echo whole > $OUT_x", "");
        let alive = Watch::new(&project.path("alive"));
        project.run(&[]).expect_code(0);
        assert!(alive.are_gone(), "{way}");
        let project = leaving(way, "exit 3", "");
        let alive = Watch::new(&project.path("alive"));
        project.run(&[]).expect_code(1);
        assert!(alive.are_gone(), "{way}");
    }
}

#[test]
fn what_left_the_session_ends_at_the_timeout() {
    let project = leaving(WAYS[1], "cat never", "    timeout: 1s\n");
    let alive = Watch::new(&project.path("alive"));
    let ended = project.run(&[]).expect_code(1);
    assert!(ended.about("stage_finished", "a")["message"].to_string().contains("1s"), "{ended:?}");
    assert!(alive.are_gone());
    assert_eq!(project.entries("tmp").len(), 0);
}

#[test]
fn what_is_in_a_user_namespace_or_stopped_ends_with_the_stage() {
    let unshare = Command::new("unshare").args(["-Ur", "true"]).output();
    let mut ways = vec!["setsid sh -c 'exec 3> alive; echo here > ready; kill -STOP $$' &"];
    if unshare.is_ok_and(|ended| ended.status.success()) {
        ways.push("setsid unshare -Ur LEFT &");
        ways.push("setsid unshare -Urpf LEFT &");
    } else {
        println!("skipped in part: user namespaces are not allowed here");
    }
    for way in ways {
        let project = leaving(way, "echo whole > $OUT_x", "");
        let alive = Watch::new(&project.path("alive"));
        project.run(&[]).expect_code(0);
        assert!(alive.are_gone(), "{way}");
    }
}

#[test]
fn what_left_the_session_ends_with_the_engine() {
    for signal in [Signal::KILL, Signal::INT] {
        let project = leaving("setsid LEFT &", "echo ran > gate; cat never", "");
        let alive = Watch::new(&project.path("alive"));
        let running = project.start(&[]);
        assert_eq!(read_fifo(&project.path("gate")), "ran\n");
        running.signal(signal);
        running.end();
        alive.wait();
    }
}

#[test]
fn what_a_stage_left_ends_also_if_it_kills_its_supervisor() {
    let project = leaving("setsid LEFT &", "kill -9 $PPID; cat never", "");
    let alive = Watch::new(&project.path("alive"));
    let ended = project.pipe(&["run"]).expect_code(1);
    assert!(ended.stderr.contains("has killed the process of `pipe`"), "{}", ended.stderr);
    assert!(alive.are_gone());
}

#[test]
fn a_file_that_somebody_still_writes_to_is_copied_into_the_store() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo one > $OUT_x; echo $OUT_x > ready; cat gate > ignored', outputs: [x], publish: {x: x}}\n",
    );
    for name in ["ready", "gate"] {
        project.fifo(name);
    }
    let running = project.start(&[]);
    let path = read_fifo(&project.path("ready"));
    let mut held = File::options().append(true).open(path.trim()).unwrap();
    open_gate(&project.path("gate"));
    running.end().expect_code(0);
    held.write_all(b"two\n").unwrap();
    drop(held);
    project.pipe(&["cache", "verify"]).expect_code(0);
    assert_eq!(project.pipe(&["cache", "cat", "a:x"]).stdout, "one\n");
}

#[test]
fn closed_folders_in_an_output_are_stored_and_nothing_of_them_remains() {
    let yaml = r#"
stages:
  a:
    run: |
      mkdir -p $OUT_d/sub/empty
      echo $PARAM_n > $OUT_d/sub/file; echo $PARAM_n > $OUT_d/closed
      chmod 000 $OUT_d/closed $OUT_d/sub/empty
      chmod 1555 $OUT_d/sub
      chmod 000 $OUT_d
      chmod 000 $(dirname $OUT_d)
      exit $PARAM_exit
    params: {n: 1, exit: 0}
    outputs: [d]
    publish: {d: out}
"#;
    let project = Project::new(yaml);
    project.pipe_as_anybody(&["run"]).expect_code(0);
    assert_eq!(
        (project.read("out/sub/file"), project.read("out/closed")),
        ("1\n".into(), "1\n".into())
    );
    assert_eq!(project.entries("tmp").len(), 0);
    project.pipe_as_anybody(&["run", "--set", "a.exit=3"]).expect_code(1);
    assert_eq!(project.entries("tmp").len(), 0);
    project.pipe_as_anybody(&["verify", "a"]).expect_code(0);
    assert_eq!(project.entries("tmp").len(), 0);
    // A published folder that the user has closed is replaced all the same.
    for folder in ["out/sub", "out"] {
        fs::set_permissions(project.path(folder), Permissions::from_mode(0o555)).unwrap();
    }
    project.pipe_as_anybody(&["run", "--set", "a.n=2"]).expect_code(0);
    assert_eq!(project.read("out/sub/file"), "2\n");
    assert_eq!(project.entries("tmp").len(), 0);
}

#[test]
fn closed_folders_of_a_dead_run_are_collected_and_other_files_are_not() {
    let project = Project::new("stages:\n  a: {run: 'echo > $OUT_x', outputs: [x]}\n");
    project.run(&[]).expect_code(0);
    project.write("cache/tmp/1-2/0/out/d/file", "left");
    project.write("cache/tmp/notes.txt", "mine");
    project.write("cache/tmp/my-notes/file", "mine");
    for folder in ["0/out/d", "0/out", ""] {
        let folder = project.path("cache/tmp/1-2").join(folder);
        fs::set_permissions(folder, Permissions::from_mode(0o000)).unwrap();
    }
    project.pipe_as_anybody(&["cache", "du"]).expect_code(0);
    project.pipe_as_anybody(&["cache", "gc"]).expect_code(0);
    assert!(!project.path("cache/tmp/1-2").exists());
    assert_eq!(project.read("cache/tmp/notes.txt"), "mine");
    assert_eq!(project.read("cache/tmp/my-notes/file"), "mine");
}

#[test]
fn a_link_in_place_of_the_folder_for_outputs_moves_nothing_of_the_user() {
    let project = Project::new(
        "stages:\n  a: {run: 'rmdir $(dirname $OUT_x); ln -s $PWD/mine $(dirname $OUT_x)', outputs: [x]}\n",
    );
    project.write("mine/x", "kept");
    let ended = project.pipe(&["run"]).expect_code(1);
    assert!(ended.stderr.contains("put something else in its place"), "{}", ended.stderr);
    assert_eq!(project.read("mine/x"), "kept");
}

#[test]
fn the_store_is_a_folder_of_its_own() {
    let project = Project::new("stages:\n  a: {run: 'echo > $OUT_x', outputs: [x]}\n");
    project.write("tmp/mine", "kept");
    for cache in [".", "..", "cache/.."] {
        let ended = project.pipe(&["--cache", cache, "run"]).expect_code(2);
        assert!(ended.stderr.contains("the store cannot be"), "{cache}: {}", ended.stderr);
    }
    assert_eq!(project.read("tmp/mine"), "kept");
}

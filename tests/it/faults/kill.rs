//! SIGKILL at each call that changes the disk, and at random times.

use std::io::{PipeReader, Read};
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::faults::project::{ARGUMENTS, Before, Scene, run};
use crate::faults::{Random, in_memory, number_from};
use crate::harness::Project;

/// A pipe whose writing end the command and all its child processes inherit.
fn held_open_by_all(command: &mut Command) -> PipeReader {
    let (reader, writer) = std::io::pipe().unwrap();
    // SAFETY: between fork and exec only async-signal-safe calls are allowed, and `dup` is such a
    // call. The copy has no close-on-exec flag, so child processes inherit it.
    unsafe {
        command.pre_exec(move || rustix::io::dup(&writer).map(mem::forget).map_err(Into::into));
    }
    reader
}

#[test]
fn killed_at_any_call_that_changes_the_disk_the_next_run_is_right() {
    let budget = number_from("PIPE_KILLS", 90);
    let scenes = [Scene::new(Before::Fresh), Scene::new(Before::Changed)];
    let mut random = Random::new();
    let (mut kills, mut places) = (0, 0);
    for scene in scenes {
        let points = scene.points();
        assert!(points > 200, "{points}");
        places += points;
        // A small budget tests every nth point, from a random one on.
        let step = (2 * points).div_ceil(budget).max(1);
        for at in (1 + random.below(step)..=points).step_by(step) {
            let project = scene.project();
            let ended = run(&project, "1", &[("PIPE_FAULT", &at.to_string())]);
            assert!(ended.signal == Some(9) || ended.code == Some(1), "{ended:?}");
            kills += usize::from(ended.signal.is_some());
            scene.check(&project, &format!("killed at point {at} of {points}"));
        }
    }
    assert!(kills >= budget.min(places) * 9 / 10, "{kills} of {places}");
    println!("killed {kills} times, at {places} different points");
}

#[test]
fn killed_at_any_time_the_next_run_is_right_and_nobody_writes_on() {
    let budget = number_from("PIPE_KILLS", 90) / 3;
    let scenes = [Scene::new(Before::Fresh), Scene::new(Before::Changed)];
    let mut random = Random::new();
    let mut kills = 0;
    for count in 0..budget {
        let scene = &scenes[count % 2];
        let project = scene.project();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipe"));
        command.args(ARGUMENTS).arg("2").current_dir(project.path("."));
        command.env_remove("PIPE_CACHE").stdin(Stdio::null()).stderr(Stdio::null());
        let mut alive = held_open_by_all(&mut command);
        let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        drop(command);
        let mut output = child.stdout.take().unwrap();
        let bytes = random.below(scene.undisturbed.stdout.len());
        let mut seen = vec![0; bytes];
        // It may have ended already; then there is nothing to kill.
        let _ = output.read_exact(&mut seen);
        let pid = Pid::from_child(&child);
        let _ = match random.below(2) {
            0 => kill_process(pid, Signal::KILL),
            _ => kill_process_group(pid, Signal::KILL),
        };
        kills += usize::from(child.wait().unwrap().signal().is_some());
        // Returns when the last process that the engine started is gone.
        alive.read_to_end(&mut seen).unwrap();
        scene.check(&project, &format!("killed after {bytes} bytes of output"));
    }
    println!("killed {kills} times, at random");
}

#[test]
fn killed_while_it_publishes_to_another_disk_nothing_remains_beside_the_target() {
    let yaml = r#"
stages:
  both:
    run: mkdir "$OUT_d"; echo "$PARAM_n" > "$OUT_d/x"; echo "$PARAM_n" > "$OUT_f"
    outputs: [d, f]
    params: {n: 1}
    publish: {d: out/d, f: out/f}
"#;
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    let mut kills = 0;
    // A small budget tests every third point, from a random one on.
    let step = if number_from("PIPE_KILLS", 0) > 0 { 1 } else { 3 };
    for at in (1 + Random::new().below(step)..).step_by(step) {
        let (project, store) = (Project::new(yaml), in_memory());
        if device(&project.path(".")) == device(store.path()) {
            return println!("skipped: there is no second disk to be had");
        }
        let cache = store.path().to_str().unwrap();
        let run = |n: &str, fault: &str| {
            let arguments = ["run", "--json", "--cache", cache, "--jobs", "1", "--set", n];
            project.pipe_with(&arguments, &[("PIPE_FAULT", fault)])
        };
        run("both.n=1", "").expect_code(0);
        let killed = run("both.n=2", &at.to_string());
        run("both.n=2", "").expect_code(0);
        assert_eq!((project.read("out/d/x"), project.read("out/f")), ("2\n".into(), "2\n".into()));
        let left = std::fs::read_dir(project.path("out")).unwrap().count();
        assert_eq!(left, 2, "something remains, killed at point {at}");
        if killed.signal.is_none() {
            break;
        }
        kills += 1;
    }
    println!("killed {kills} times, with the store on another disk");
}

//! The engine and its stages as processes: killed, interrupted, two at once. No test sleeps: a
//! stage reports through one named pipe where it is, and waits at another until it may continue.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::faults::number_from;
use crate::harness::{Ended, Project, Running, Watch, open_gate, read_fifo};

/// `slow` reports that it runs, and waits at its gate. The stage and its child hold `alive` open.
const SLOW: &str = r#"
stages:
  slow:
    run: |
      echo slow >> ran.log
      echo half > "$OUT_x"
      exec 3> alive
      cat never &
      echo here > ready
      cat "${GATE:-gate}" > /dev/null
      echo whole > "$OUT_x"
    outputs: [x]
  next:
    run: echo next >> ran.log; cat "$IN_x" > "$OUT_y"
    inputs: {x: slow:x}
    outputs: [y]
    publish: {y: y.txt}
"#;

fn slow() -> Project {
    let project = Project::new(SLOW);
    for name in ["ready", "gate", "alive", "never"] {
        project.fifo(name);
    }
    project
}

/// A run whose stage `slow` has started and waits at its gate.
#[track_caller]
fn slow_running() -> (Project, Watch, Running) {
    let project = slow();
    let alive = Watch::new(&project.path("alive"));
    let running = project.start(&[]);
    read_fifo(&project.path("ready"));
    (project, alive, running)
}

/// Starts another engine, which waits for the first one's stage.
#[track_caller]
fn start_second(project: &Project, environment: &[(&str, &str)]) -> Running {
    let mut second = project.start_with(&[], environment);
    assert!(second.read_until("stage_waiting"));
    second
}

/// Lets `slow` continue, and waits for `pipe` to end.
#[track_caller]
fn finish(project: &Project, running: Running) -> Ended {
    let alive = Watch::new(&project.path("alive"));
    read_fifo(&project.path("ready"));
    open_gate(&project.path("gate"));
    let ended = running.end();
    alive.wait();
    ended
}

#[test]
fn what_a_stage_leaves_running_ends_with_it() {
    let project = slow();
    let running = project.start(&[]);
    finish(&project, running).expect_code(0);
    assert_eq!(project.read("y.txt"), "whole\n");
}

#[test]
fn a_killed_engine_leaves_no_orphan_and_no_result() {
    let (project, alive, running) = slow_running();
    running.signal(Signal::KILL);
    assert_eq!(running.end().signal, Some(9));
    alive.wait();
    assert_eq!(project.stored("records").len(), 0);
    assert_eq!(project.take_log(), "slow");

    let running = project.start(&[]);
    finish(&project, running).expect_code(0);
    assert_eq!(project.take_log(), "next slow");
    assert_eq!(project.read("y.txt"), "whole\n");
    assert_eq!(project.entries("tmp").len(), 0);
    assert_eq!(project.entries("locks").len(), 0);
}

#[test]
fn ctrl_c_ends_the_stages_and_exits_with_130() {
    for signal in [Signal::INT, Signal::TERM] {
        let (project, alive, running) = slow_running();
        running.signal(signal);
        let ended = running.end().expect_code(130);
        assert_eq!(ended.outcomes(), "next=skipped slow=failed");
        assert_eq!(ended.about("stage_finished", "slow")["message"], "interrupted");
        assert_eq!(ended.summary()["interrupted"], true);
        assert_eq!(ended.summary()["stopped"], 1);
        alive.wait();
        assert_eq!(project.entries("tmp").len(), 0);
        assert_eq!(project.stored("records").len(), 0);
    }
}

#[test]
fn a_signal_to_every_process_lets_the_stage_end_in_its_own_way() {
    let project = Project::new(
        r#"
stages:
  saving:
    run: |
      trap 'echo saved > state; exit 1' TERM
      cat never &
      echo $PPID $(sed -n 's/^PPid:.//p' /proc/$PPID/status) > pids
      wait
    outputs: [x]
"#,
    );
    for name in ["never", "pids"] {
        project.fifo(name);
    }
    let running = project.start(&[]);
    let pids = read_fifo(&project.path("pids"));
    let [supervisor, guard] = pids.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{pids}")
    };
    // Slurm and systemd send it to all processes of a job or service, in any order.
    let killed = Command::new("kill").args(["-TERM", supervisor, guard]).status().unwrap();
    assert!(killed.success());
    running.signal(Signal::TERM);
    let ended = running.end().expect_code(130);
    assert_eq!(ended.about("stage_finished", "saving")["message"], "interrupted");
    assert_eq!(project.read("state"), "saved\n");
}

#[test]
fn ctrl_c_twice_kills_a_stage_that_will_not_end() {
    let project = Project::new(
        r#"
stages:
  stubborn:
    run: |
      trap 'echo still here > heard' TERM
      cat gate &
      echo here > ready
      while true; do wait; cat gate; done
    outputs: [x]
"#,
    );
    for name in ["ready", "gate", "heard"] {
        project.fifo(name);
    }
    let running = project.start(&[]);
    read_fifo(&project.path("ready"));
    running.signal(Signal::INT);
    assert_eq!(read_fifo(&project.path("heard")), "still here\n");
    running.signal(Signal::INT);
    running.end().expect_code(130);
}

#[test]
fn two_engines_at_once_run_each_stage_once_and_the_second_says_that_it_waits() {
    let (project, alive, first) = slow_running();
    let second = start_second(&project, &[]);
    open_gate(&project.path("gate"));
    let (first, second) = (first.end().expect_code(0), second.end().expect_code(0));
    alive.wait();
    assert_eq!(project.take_log(), "next slow");
    assert_eq!(second.about("stage_finished", "slow")["outcome"], "hit");
    assert_eq!(first.about("stage_finished", "slow")["outcome"], "ran");
    assert_eq!(project.entries("locks").len(), 0);
}

#[test]
fn when_the_first_of_two_engines_is_killed_the_second_takes_over() {
    let (project, alive, first) = slow_running();
    // With a gate of its own for the second engine's stage, the dying stage of the first engine
    // cannot read what is meant for it.
    let gate = project.fifo("second gate");
    let second = start_second(&project, &[("GATE", "second gate")]);
    first.signal(Signal::KILL);
    first.end();
    read_fifo(&project.path("ready"));
    open_gate(&gate);
    let second = second.end().expect_code(0);
    alive.wait();
    assert_eq!(second.outcomes(), "next=ran slow=ran");
    assert_eq!(project.read("y.txt"), "whole\n");
}

#[test]
fn a_waiting_engine_can_be_interrupted() {
    let (project, alive, first) = slow_running();
    let second = start_second(&project, &[]);
    second.signal(Signal::INT);
    second.end().expect_code(130);
    first.signal(Signal::INT);
    first.end().expect_code(130);
    alive.wait();
}

/// Eight stages in three levels. Each of them changes the final result.
fn tree_of_stages() -> Project {
    let mut yaml = "stages:\n".to_owned();
    for n in 0..4 {
        yaml += &format!(
            "  leaf{n}: {{run: 'mkdir $OUT_d; echo {n} > $OUT_d/a; echo x{n} > $OUT_d/b', outputs: [d]}}\n"
        );
    }
    for n in 0..3 {
        let (left, right) = (format!("leaf{n}:d"), format!("leaf{}:d", n + 1));
        yaml += &format!(
            "  pair{n}: {{run: 'cat $IN_l/* $IN_r/* > $OUT_f', inputs: {{l: '{left}', r: '{right}'}}, outputs: [f]}}\n"
        );
    }
    yaml += "  all: {run: 'cat $IN_a $IN_b $IN_c > $OUT_f', inputs: {a: 'pair0:f', b: 'pair1:f', c: 'pair2:f'}, outputs: [f], publish: {f: all.txt}}\n";
    Project::new(&yaml)
}

#[test]
fn killed_after_any_event_the_next_run_is_right() {
    let whole = tree_of_stages();
    let events = whole.run(&["--jobs", "2"]).expect_code(0).events().len();
    let expected = whole.read("all.txt");
    assert!(events > 16);
    for kill_after in 1..events {
        let project = tree_of_stages();
        let mut running = project.start(&["--jobs", "2"]);
        for _ in 0..kill_after {
            running.read_line();
        }
        running.signal(Signal::KILL);
        running.end();
        // Every recorded object is complete.
        let status = project.pipe(&["status", "--json"]).expect_code(0);
        for line in status.events() {
            assert_ne!(line["why"]["reason"], "object_missing", "killed after {kill_after}");
        }
        project.run(&[]).expect_code(0);
        assert_eq!(project.read("all.txt"), expected, "killed after {kill_after}");
        assert_eq!(project.entries("tmp").len(), 0, "killed after {kill_after}");
        assert_eq!(project.run(&[]).summary()["hits"], 8);
    }
}

#[test]
fn eight_engines_at_once_run_each_stage_once() {
    let rounds = number_from("PIPE_ROUNDS", 5);
    for round in 0..rounds {
        let project = tree_of_stages();
        let yaml = project.read("pipeline.yaml").replace("run: '", "run: 'echo ran >> ran.log; ");
        project.write("pipeline.yaml", &yaml);
        let all: Vec<Running> = (0..8).map(|_| project.start(&[])).collect();
        let mut ran = 0;
        for running in all {
            let summary = running.end().expect_code(0).summary();
            let count = |field: &str| summary[field].as_u64().unwrap();
            assert_eq!(count("ran") + count("hits"), 8, "round {round}");
            ran += count("ran");
        }
        assert_eq!(ran, 8, "round {round}");
        let log = fs::read_to_string(project.path("ran.log")).unwrap();
        assert_eq!(log.lines().count(), 8, "round {round}");
        assert_eq!(project.read("all.txt"), "0\nx0\n1\nx1\n1\nx1\n2\nx2\n2\nx2\n3\nx3\n");
        assert_eq!(project.entries("tmp").len(), 0, "round {round}");
        assert_eq!(project.entries("locks").len(), 0, "round {round}");
    }
    println!("{rounds} rounds of eight engines");
}

#[test]
fn no_signal_is_blocked_in_a_stage() {
    let project = Project::new(
        "stages:\n  a: {run: 'exec grep SigBlk /proc/self/status > $OUT_o', outputs: [o], publish: {o: o}}\n",
    );
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("o"), "SigBlk:\t0000000000000000\n");
}

#[test]
fn what_started_the_engine_may_block_and_ignore_signals() {
    let project = slow();
    let alive = Watch::new(&project.path("alive"));
    let text = "import os, signal, sys\n\
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n\
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])\n\
                os.execv(sys.argv[1], sys.argv[1:])\n";
    let arguments = ["-c", text, env!("CARGO_BIN_EXE_pipe"), "run", "--json"];
    let mut command = project.command_of("python3", &arguments);
    let engine = command.stdout(Stdio::piped()).spawn().unwrap();
    read_fifo(&project.path("ready"));
    let pid = Pid::from_child(&engine);
    kill_process(pid, Signal::TERM).unwrap();
    let ended = Ended::of(engine.wait_with_output().unwrap()).expect_code(130);
    assert_eq!(ended.about("stage_finished", "slow")["message"], "interrupted");
    alive.wait();
}

#[test]
fn a_stage_that_is_stopped_ends_at_the_first_interrupt() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo $$ > pid; kill -STOP $$; echo > $OUT_o', outputs: [o]}\n",
    );
    let mut running = project.start(&[]);
    assert!(running.read_until("stage_started"));
    let stopped = || -> Option<bool> {
        let pid = fs::read_to_string(project.path("pid")).ok()?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).ok()?;
        Some(stat.rsplit(')').next()?.trim_start().starts_with('T'))
    };
    while stopped() != Some(true) {
        std::thread::yield_now();
    }
    running.signal(Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
}

#[test]
fn a_guard_that_was_killed_is_started_again_for_the_next_stage() {
    // The first stage kills the guard, which is the parent of its supervisor, and waits until the
    // guard is dead.
    let project = Project::new(
        r#"
stages:
  first:
    run: |
      guard=$(sed -n 's/^PPid:.//p' /proc/$PPID/status)
      tr '\0' ' ' < /proc/$guard/cmdline | grep -q ' guard $' || exit 1
      kill -9 $guard
      until grep -q '^State:.Z' /proc/$guard/status; do :; done
      echo killed > "$OUT_x"
    outputs: [x]
  second: {run: 'cat "$IN_x" > "$OUT_y"', inputs: {x: first:x}, outputs: [y], publish: {y: y.txt}}
"#,
    );
    project.expect_run(&[], "first=ran second=ran").expect_code(0);
    assert_eq!(project.read("y.txt"), "killed\n");
}

#[test]
fn a_stage_that_reads_from_the_terminal_fails_instead_of_waiting() {
    let project = Project::new(
        "stages:\n  ask: {run: 'read x < /dev/tty && echo $x > $OUT_x', outputs: [x]}\n",
    );
    let ended = project.pipe_on_terminal(&["run", "--json"]).expect_code(1);
    let said = ended.about("stage_finished", "ask")["last_lines"].to_string();
    assert!(said.contains("/dev/tty"), "{said}");
}

#[test]
fn refused_threads_are_an_error_and_no_panic() {
    let project = Project::new("stages:\n  a: {run: echo > $OUT_x, outputs: [x]}\n");
    // No memory has room for a stack of this size, so the system refuses every thread.
    let none = [("RUST_MIN_STACK", "1000000000000000")];
    for command in [&["run"][..], &["status"], &["cache", "verify"], &["watch"], &["verify", "a"]] {
        let ended = project.pipe_with(command, &none).expect_code(1);
        assert!(ended.stderr.contains("starting a thread"), "{command:?}: {}", ended.stderr);
        assert!(ended.stderr.contains("hint: the limit on processes"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{command:?}: {}", ended.stderr);
    }
}

//! An engine or a controller that goes away and comes back.

use rustix::process::Signal;

use super::{Cluster, wait_for_file};
use crate::harness::{Project, open_gate};

const CHAIN: &str = "
stages:
  first:
    run: echo first >> ran.log; echo 1 > begun; read go < gate; echo 1 > \"$OUT_y\"
    outputs: [y]
    timeout: 4m
  second:
    run: echo second >> ran.log; echo 2 > \"$OUT_y\"
    inputs: {x: first:y}
    outputs: [y]
";

fn chain() -> Project {
    let project = Project::new(CHAIN);
    project.fifo("gate");
    project
}

#[test]
fn an_engine_that_was_killed_finds_its_job_again_and_submits_nothing_twice() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let project = chain();
    let running = cluster.start_run(&project, &[]);
    wait_for_file(&project.path("begun"));
    running.signal(Signal::KILL);
    assert_eq!(running.end().signal, Some(9));
    let mut running = cluster.start_run(&project, &[]);
    // The events come again: the engine reads them from the beginning.
    assert!(running.read_until("stage_says"));
    open_gate(&project.path("gate"));
    running.end().expect_code(0);
    assert_eq!(project.take_log(), "first second");
}

#[test]
fn a_job_that_ended_while_no_engine_was_there_is_not_run_again() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let project = chain();
    let running = cluster.start_run(&project, &[]);
    wait_for_file(&project.path("begun"));
    running.signal(Signal::KILL);
    running.end();
    open_gate(&project.path("gate"));
    let folder = project.entries("jobs").pop().unwrap();
    wait_for_result(&folder);
    cluster.run(&project, &[]).expect_code(0);
    assert_eq!(project.take_log(), "first second");
}

fn wait_for_result(folder: &std::path::Path) {
    for _ in 0..3000 {
        if folder.join("result.json").exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("no result in {}", folder.display());
}

#[test]
fn a_local_run_ends_the_job_that_a_dead_engine_has_left() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let project = chain();
    let running = cluster.start_run(&project, &[]);
    wait_for_file(&project.path("begun"));
    running.signal(Signal::KILL);
    running.end();
    std::fs::remove_file(project.path("begun")).unwrap();
    let id = cluster.ask("squeue", &["-h", "-o", "%j %i", "--states=all"]);
    let project_job = id.lines().rfind(|line| line.starts_with("pipe-first-")).unwrap().to_owned();
    let job = project_job.split(' ').nth(1).unwrap().to_owned();
    let running = project.start_with(&[], &[("SLURM_CONF", &cluster.configuration())]);
    wait_for_file(&project.path("begun"));
    let state = ["-h", "-o", "%T", "--states=all", "-j", &job];
    cluster.wait_for("squeue", &state, |said| !said.contains("RUNNING"));
    open_gate(&project.path("gate"));
    running.end().expect_code(0);
    assert_eq!(project.take_log(), "first first second");
}

#[test]
fn a_controller_that_is_away_for_a_while_delays_a_run_and_nothing_else() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.alone();
    let project = chain();
    let mut running = cluster.start_run(&project, &[]);
    wait_for_file(&project.path("begun"));
    cluster.stop_controller();
    open_gate(&project.path("gate"));
    // The end is known without the controller, from the folder. The next stage has to wait.
    assert!(running.read_until("stage_finished"));
    let mut said = false;
    while !said && running.read_line() {
        said = running.seen.last().unwrap().to_string().contains("does not answer");
    }
    assert!(said, "{:?}", running.seen);
    cluster.start_controller();
    let ended = running.end().expect_code(0);
    assert_eq!(ended.summary()["ran"], 2);
    assert_eq!(project.take_log(), "first second");
}

#[test]
fn a_killed_engine_in_an_allocation_takes_its_steps_along() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let project = chain();
    let pipe = env!("CARGO_BIN_EXE_pipe");
    let script = format!(
        "{pipe} run --executor slurm & pipe=$!; until [ -s begun ]; do sleep 0.1; done; \
         kill -9 $pipe; n=0; while [ -n \"$(squeue -h -s -j $SLURM_JOB_ID | grep pipe-)\" ]; do \
         sleep 0.2; n=$((n+1)); [ $n -gt 300 ] && exit 9; done; exit 0"
    );
    let mut command = cluster.command("salloc", &["-Q", "-N1", "bash", "-c", &script]);
    let ended = command.current_dir(project.path("")).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
}

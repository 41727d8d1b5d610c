//! An engine or a controller that goes away and comes back.

use super::cluster::poll;
use super::{Cluster, finish, kill, wait_for_file};
use crate::harness::{Project, Running, open_gate};

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

/// A run of [`CHAIN`] whose stage `first` has started and waits at its gate.
#[track_caller]
fn waiting(cluster: &Cluster) -> (Project, Running) {
    let project = chain();
    let running = cluster.begin(&project, &[]);
    (project, running)
}

#[test]
fn an_engine_that_was_killed_finds_its_job_again_and_submits_nothing_twice() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let (project, running) = waiting(cluster);
    kill(running);
    let mut running = cluster.start_run(&project, &[]);
    // The second engine reads the job's events from the beginning, so it reports them again.
    assert!(running.read_until("stage_says"));
    finish(&project, running, "first second");
}

#[test]
fn a_job_that_ended_while_no_engine_was_there_is_not_run_again() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let (project, running) = waiting(cluster);
    kill(running);
    open_gate(&project.path("gate"));
    let folder = project.entries("jobs").pop().unwrap();
    let result = || folder.join("result.json").exists().then_some(());
    poll(300, result).expect("the job writes its result");
    cluster.run(&project, &[]).expect_code(0);
    assert_eq!(project.take_log(), "first second");
}

#[test]
fn a_local_run_stops_the_job_of_a_dead_engine() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let (project, running) = waiting(cluster);
    kill(running);
    std::fs::remove_file(project.path("begun")).unwrap();
    let jobs = cluster.ask("squeue", &["-h", "-o", "%j %i", "--states=all"]);
    let left = jobs.lines().rfind(|line| line.starts_with("pipe-first-")).unwrap();
    let job = left.split(' ').nth(1).unwrap();
    let running = project.start_with(&[], &[("SLURM_CONF", &cluster.configuration())]);
    wait_for_file(&project.path("begun"));
    cluster.wait_until_stopped(job);
    finish(&project, running, "first first second");
}

#[test]
fn a_controller_that_is_away_for_a_while_only_delays_a_run() {
    let Some((cluster, _turn)) = Cluster::alone() else { return };
    let (project, mut running) = waiting(cluster);
    cluster.stop_controller();
    open_gate(&project.path("gate"));
    // The job's folder tells how it ended, without the controller. The next stage has to wait.
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
fn when_an_engine_in_an_allocation_is_killed_its_steps_end() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
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

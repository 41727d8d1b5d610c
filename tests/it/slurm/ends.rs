//! However a job ends, the run reports the cause.

use super::cluster::wait_until_gone;
use super::{Cluster, finish, message, wait_for_file};
use crate::harness::{Project, Running};

/// A stage that reports that it has started and then waits at a gate.
fn gated(more: &str) -> Project {
    // The timeout lets a failing test fail instead of waiting forever.
    let timeout = if more.contains("timeout") { "" } else { "timeout: 4m" };
    let project = Project::new(&format!(
        "stages:
  wait:
    run: echo run >> ran.log; echo \"$$\" > begun; read go < gate; echo done > \"$OUT_y\"
    outputs: [y]
    {timeout}
    {more}
"
    ));
    project.fifo("gate");
    project
}

/// The number of the job, as the run reports it.
#[track_caller]
fn job_of(running: &mut Running) -> String {
    while running.read_line() {
        let line = running.seen.last().unwrap();
        let message = line["said"]["message"].as_str().unwrap_or_default();
        if let Some((_, job)) = message.split_once(" as job ") {
            return job.to_owned();
        }
    }
    panic!("no job: {:?}", running.seen);
}

/// A run whose stage `wait` has started and waits at its gate.
struct Waiting {
    project: Project,
    running: Running,
    job: String,
    /// The process of the stage on its node.
    pid: String,
}

#[track_caller]
fn waiting(cluster: &Cluster, more: &str) -> Waiting {
    let project = gated(more);
    let mut running = cluster.start_run(&project, &[]);
    let job = job_of(&mut running);
    let pid = wait_for_file(&project.path("begun")).trim().to_owned();
    Waiting { project, running, job, pid }
}

/// Waits until the run has failed, and returns the message about its stage.
#[track_caller]
fn failure(running: Running) -> String {
    message(&running.end().expect_code(1), "wait")
}

#[test]
fn a_process_killed_on_its_node_is_reported_as_killed() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let Waiting { project: _project, running, pid, .. } = waiting(cluster, "");
    let killed = std::process::Command::new("kill").args(["-9", &pid]).status();
    assert!(killed.unwrap().success());
    let said = failure(running);
    assert!(said.starts_with("killed by signal 9"), "{said}");
}

#[test]
fn a_failing_command_reports_its_exit_code_and_its_last_lines_both_ways() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let project = Project::new("stages: {bad: {run: 'echo so it goes; exit 7', outputs: [y]}}");
    for ended in [cluster.run(&project, &[]), cluster.run_inside(&project, &[])] {
        let failed = ended.expect_code(1).about("stage_finished", "bad");
        assert_eq!(failed["message"], "exit code 7");
        assert_eq!(failed["last_lines"][0], "so it goes");
    }
    assert!(project.entries("jobs").is_empty());
}

#[test]
fn a_node_on_which_pipe_itself_fails_says_why_both_ways() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    // The parent of a stage's process is its supervisor.
    let project =
        Project::new("stages: {bad: {run: 'kill -9 $PPID; read never < gate', outputs: [y]}}");
    project.fifo("gate");
    for ended in [cluster.run(&project, &[]), cluster.run_inside(&project, &[])] {
        let said = message(&ended.expect_code(1), "bad");
        let why = "something has killed the process of `pipe` that supervised it";
        assert!(said.starts_with("its node could not run it: "), "{said}");
        assert!(said.ends_with(why), "{said}");
    }
}

#[test]
fn a_job_cancelled_by_hand_is_reported_as_cancelled_and_not_retried() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let Waiting { project, running, job, .. } = waiting(cluster, "retries: 3");
    cluster.ask("scancel", &[&job]);
    assert_eq!(failure(running), "its Slurm job was cancelled by hand");
    assert_eq!(project.take_log(), "run");
}

#[test]
fn a_job_killed_together_with_its_watcher_is_still_reported() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let Waiting { project: _project, running, job, .. } = waiting(cluster, "");
    cluster.ask("scancel", &["--full", "--signal=KILL", &job]);
    let said = failure(running);
    assert!(said.contains("cancelled by hand") || said.contains("left no result"), "{said}");
}

#[test]
fn an_interrupted_run_stops_its_job() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let Waiting { project, running, job, .. } = waiting(cluster, "");
    running.signal(rustix::process::Signal::INT);
    let ended = running.end().expect_code(130);
    assert_eq!(message(&ended, "wait"), "interrupted");
    cluster.wait_until_stopped(&job);
    assert!(project.entries("jobs").is_empty());
}

#[test]
fn preemption_is_reported() {
    let Some((cluster, _turn)) = Cluster::alone() else { return };
    let exclusive = "resources: {partition: cpu, options: [--exclusive]}";
    let Waiting { project: _project, running, .. } = waiting(cluster, exclusive);
    cluster
        .ask("sbatch", &["-p", "high", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "true"]);
    assert_eq!(failure(running), "Slurm preempted it for another job");
}

#[test]
fn a_time_limit_is_reported_and_a_job_may_be_requeued_at_it() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let limited = gated("resources: {time: 1m}");
    let running = cluster.start_run(&limited, &[]);
    // Slurm warns a minute before the limit: here, when the job starts.
    let again = Project::new(
        "stages:
  wait:
    run: >
      echo run >> ran.log; test -e \"$PWD/first\" && { echo done > \"$OUT_y\"; exit 0; };
      touch first; read go < gate
    outputs: [y]
    resources: {time: 1m, requeue: true}
",
    );
    again.fifo("gate");
    let mut turns = cluster.start_run(&again, &[]);
    let job = job_of(&mut turns);
    cluster.start_requeued(&job);
    let ended = turns.end().expect_code(0);
    assert_eq!(ended.summary()["ran"], 1);
    assert_eq!(again.take_log(), "run run");
    assert_eq!(failure(running), "Slurm ended it at its time limit");
}

#[test]
fn the_stages_own_timeout_counts_from_its_start_on_the_node() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    for attached in [false, true] {
        let project = gated("timeout: 2s");
        let ended = match attached {
            false => cluster.run(&project, &[]),
            true => cluster.run_inside(&project, &[]),
        };
        assert_eq!(message(&ended.expect_code(1), "wait"), "timed out after 2s");
    }
}

#[test]
fn a_node_that_fails_is_reported() {
    let Some((cluster, _turn)) = Cluster::alone() else { return };
    let Waiting { project: _project, running, job, .. } = waiting(cluster, "");
    let node = cluster.node_of(&job);
    cluster.ask("scontrol", &["update", &format!("NodeName={node}"), "State=DOWN", "Reason=test"]);
    assert_eq!(failure(running), format!("its node failed (`{node}`)"));
    // The node comes back by itself.
    cluster.wait_until_idle();
}

#[test]
fn a_node_that_stops_answering_loses_its_job_to_another_and_its_process_ends() {
    let Some((cluster, _turn)) = Cluster::alone() else { return };
    let requeue = "resources: {requeue: true}";
    let Waiting { project, running, job, pid: first } = waiting(cluster, requeue);
    let node = cluster.node_of(&job);
    std::fs::remove_file(project.path("begun")).unwrap();
    cluster.stop_node(&node);
    cluster.start_requeued(&job);
    let second = wait_for_file(&project.path("begun"));
    assert_ne!(first, second.trim());
    // The process on the node whose daemon died was still alive, and ends by itself.
    wait_until_gone(&first);
    finish(&project, running, "run run");
    cluster.start_node(&node);
    cluster.wait_until_idle();
}

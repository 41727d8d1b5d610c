//! Every end of a job is reported with its cause.

use super::Cluster;
use super::wait_for_file;
use crate::harness::{Project, Running, open_gate};

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

#[track_caller]
fn message(running: Running) -> String {
    let ended = running.end().expect_code(1);
    ended.about("stage_finished", "wait")["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_process_that_is_killed_on_its_node_is_told_as_that() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let project = gated("");
    let running = cluster.start_run(&project, &[]);
    let pid = wait_for_file(&project.path("begun"));
    let killed = std::process::Command::new("kill").args(["-9", pid.trim()]).status();
    assert!(killed.unwrap().success());
    let said = message(running);
    assert!(said.starts_with("killed by signal 9"), "{said}");
}

#[test]
fn a_failing_command_brings_its_code_and_its_last_lines_both_ways() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let project = Project::new("stages: {bad: {run: 'echo so it goes; exit 7', outputs: [y]}}");
    for ended in [cluster.run(&project, &[]), cluster.run_inside(&project, &[])] {
        let failed = ended.expect_code(1).about("stage_finished", "bad");
        assert_eq!(failed["message"], "exit code 7");
        assert_eq!(failed["last_lines"][0], "so it goes");
    }
    assert!(project.entries("jobs").is_empty());
}

#[test]
fn a_job_cancelled_by_hand_is_told_as_that_and_not_tried_again() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let project = gated("retries: 3");
    let mut running = cluster.start_run(&project, &[]);
    let job = job_of(&mut running);
    wait_for_file(&project.path("begun"));
    cluster.ask("scancel", &[&job]);
    assert_eq!(message(running), "its Slurm job was cancelled by hand");
    assert_eq!(project.take_log(), "run");
}

#[test]
fn a_job_killed_with_all_that_watches_over_it_is_told_all_the_same() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let project = gated("");
    let mut running = cluster.start_run(&project, &[]);
    let job = job_of(&mut running);
    wait_for_file(&project.path("begun"));
    cluster.ask("scancel", &["--full", "--signal=KILL", &job]);
    let said = message(running);
    assert!(said.contains("cancelled by hand") || said.contains("left no result"), "{said}");
}

#[test]
fn a_job_that_is_told_to_end_both_ways_of_interrupting_ends() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let project = gated("");
    let mut running = cluster.start_run(&project, &[]);
    let job = job_of(&mut running);
    wait_for_file(&project.path("begun"));
    running.signal(rustix::process::Signal::INT);
    let ended = running.end().expect_code(130);
    assert_eq!(ended.about("stage_finished", "wait")["message"], "interrupted");
    let state = ["-h", "-o", "%T", "--states=all", "-j", &job];
    cluster.wait_for("squeue", &state, |said| !said.contains("RUNNING"));
    assert!(project.entries("jobs").is_empty());
}

#[test]
fn preemption_is_told_as_that() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.alone();
    let project = gated("resources: {partition: cpu, options: [--exclusive]}");
    let mut running = cluster.start_run(&project, &[]);
    job_of(&mut running);
    wait_for_file(&project.path("begun"));
    cluster
        .ask("sbatch", &["-p", "high", "-N3", "--exclusive", "-o", "/dev/null", "--wrap", "true"]);
    assert_eq!(message(running), "Slurm preempted it for another job");
}

#[test]
fn a_time_limit_is_told_as_that_and_a_wanted_further_turn_is_taken() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let limited = gated("resources: {time: 1m}");
    let running = cluster.start_run(&limited, &[]);
    // The warning comes a minute before the end, so at once.
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
    // Slurm would wait two minutes more.
    cluster.wait_for("squeue", &["-h", "-o", "%T", "-j", &job], |said| said.trim() == "PENDING");
    cluster.ask("scontrol", &["update", &format!("JobId={job}"), "StartTime=now"]);
    let ended = turns.end().expect_code(0);
    assert_eq!(ended.summary()["ran"], 1);
    assert_eq!(again.take_log(), "run run");
    assert_eq!(message(running), "Slurm ended it at its time limit");
}

#[test]
fn the_stages_own_timeout_counts_from_its_start_on_the_node() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    for attached in [false, true] {
        let project = gated("timeout: 2s");
        let ended = match attached {
            false => cluster.run(&project, &[]),
            true => cluster.run_inside(&project, &[]),
        };
        let failed = ended.expect_code(1).about("stage_finished", "wait");
        assert_eq!(failed["message"], "timed out after 2s");
    }
}

#[test]
fn a_node_that_fails_is_told() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.alone();
    let project = gated("");
    let mut running = cluster.start_run(&project, &[]);
    let job = job_of(&mut running);
    wait_for_file(&project.path("begun"));
    let node = cluster.ask("squeue", &["-h", "-o", "%N", "-j", &job]).trim().to_owned();
    cluster.ask("scontrol", &["update", &format!("NodeName={node}"), "State=DOWN", "Reason=test"]);
    assert_eq!(message(running), format!("its node failed (`{node}`)"));
    // The node comes back by itself.
    cluster.wait_until_idle();
}

#[test]
fn a_node_that_stops_answering_loses_its_job_to_another_and_its_process_gives_way() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.alone();
    let project = gated("resources: {requeue: true}");
    let mut running = cluster.start_run(&project, &[]);
    let job = job_of(&mut running);
    let first = wait_for_file(&project.path("begun"));
    let node = cluster.ask("squeue", &["-h", "-o", "%N", "-j", &job]).trim().to_owned();
    std::fs::remove_file(project.path("begun")).unwrap();
    cluster.stop_node(&node);
    // Slurm would wait two minutes more.
    let state = ["-h", "-o", "%T", "-j", &job];
    cluster.wait_for("squeue", &state, |said| said.trim() == "PENDING");
    cluster.ask("scontrol", &["update", &format!("JobId={job}"), "StartTime=now"]);
    let second = wait_for_file(&project.path("begun"));
    assert_ne!(first, second);
    // The process that the dead node had started was alive, and has ended.
    wait_until_gone(first.trim());
    open_gate(&project.path("gate"));
    running.end().expect_code(0);
    assert_eq!(project.take_log(), "run run");
    cluster.start_node(&node);
    cluster.wait_until_idle();
}

#[track_caller]
fn wait_until_gone(pid: &str) {
    for _ in 0..600 {
        if !std::path::Path::new("/proc").join(pid).exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("process {pid} is still there");
}

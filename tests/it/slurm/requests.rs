//! The resources that stages request, and the messages if Slurm cannot grant them.

use super::{Cluster, message};
use crate::harness::{Ended, Project};

#[test]
fn resources_reach_the_scheduler() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let project = Project::new(
        "slurm: {partition: cpu, time: 10m, options: [--comment=all]}
stages:
  one:
    run: scontrol show job -o $SLURM_JOB_ID > \"$OUT_y\"; nproc; echo $RAYON_NUM_THREADS >> \"$OUT_y\"
    outputs: [y]
    publish: {y: job.txt}
    resources: {cpus: 2, memory: 500MB, time: 90s, options: [--nice=7]}
",
    );
    cluster.run(&project, &[]).expect_code(0);
    let job = project.read("job.txt");
    for expected in [
        "Partition=cpu",
        "TimeLimit=00:02:00",
        "CPUs/Task=2",
        "MinMemoryNode=500M",
        "Nice=7",
        "Comment=all",
        "Requeue=0",
    ] {
        assert!(job.contains(expected), "{expected}: {job}");
    }
    assert_eq!(job.lines().last(), Some("2"));
}

#[test]
fn a_refused_request_is_reported_in_the_words_of_slurm() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let project =
        Project::new("stages: {one: {run: 'true', outputs: [y], resources: {partition: no}}}");
    let ended = cluster.run(&project, &[]).expect_code(1);
    let failed = ended.about("stage_finished", "one");
    let said = failed["message"].as_str().unwrap();
    assert!(said.starts_with("Slurm rejected the stage: "), "{said}");
    assert!(said.contains("invalid partition"), "{said}");
    assert!(failed["hint"].as_str().unwrap().contains("`resources` of the stage"));
    let project = Project::new("stages: {one: {run: 'true', outputs: [y], resources: {cpus: 64}}}");
    let message = message(&cluster.run_inside(&project, &[]).expect_code(1), "one");
    assert!(message.starts_with("Slurm rejected the stage: "), "{message}");
    // A batch job waits instead and reports why; a waiting job can be interrupted.
    let mut running = cluster.start_run(&project, &[]);
    assert!(running.read_until("stage_says"));
    let said = running.seen.last().unwrap()["said"]["message"].as_str().unwrap().to_owned();
    assert!(said.starts_with("waits as job ") && said.ends_with(": PartitionConfig"), "{said}");
    running.signal(rustix::process::Signal::INT);
    running.end().expect_code(130);
}

#[test]
fn a_store_that_nodes_do_not_see_is_reported_with_what_to_do() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let project = Project::new(
        "slurm: {late_files: 1s}
stages: {one: {run: 'true', outputs: [y]}}",
    );
    std::fs::create_dir(project.path("cache")).unwrap();
    let pipe = env!("CARGO_BIN_EXE_pipe");
    let script = format!("mount -t tmpfs none cache && exec {pipe} run --json --executor sbatch");
    let mut command = cluster.command("unshare", &["-m", "sh", "-c", &script]);
    let ended = Ended::of(command.current_dir(project.path("")).output().unwrap());
    if ended.stdout.is_empty() {
        eprintln!("skipped: no mount namespaces here: {}", ended.stderr);
        return;
    }
    let failed = ended.expect_code(1).about("stage_finished", "one");
    let message = failed["message"].as_str().unwrap();
    assert!(message.starts_with("node `n") && message.contains("does not see"), "{message}");
    assert!(failed["hint"].as_str().unwrap().contains("at the same path on all nodes"));
}

#[test]
fn without_slurm_the_message_names_the_missing_program() {
    let project = Project::new("stages: {one: {run: 'true', outputs: [y]}}");
    let ended =
        project.pipe_with(&["run", "--json", "--executor", "sbatch"], &[("PATH", "/nowhere")]);
    let message = message(&ended.expect_code(1), "one");
    assert!(message.starts_with("starting `sbatch`: "), "{message}");
}

#[test]
fn an_invalid_request_is_refused_before_anything_runs() {
    let project = Project::new(
        "executor: slrum
slurm: {partiton: cpu, memory: 8}
stages:
  a: {run: 'true', outputs: [y], executor: srnu, resources: {cpus: 0, options: [--array=3]}}
",
    );
    let said = project.pipe(&["status"]).expect_code(2).stderr;
    for expected in [
        "`executor` is `slrum`, expected an executor",
        "did you mean `slurm`?",
        "unknown key `partiton` in `slurm`",
        "`memory` in `slurm` is `8`, expected the memory of one node, such as `8G` or `500M`",
        "`executor` of stage `a` is `srnu`, expected an executor",
        "`cpus` in `resources` of stage `a` is `0`, expected a whole number from 1 to 65536",
        "`--array=3` in `resources` of stage `a` is set by the engine itself",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn requests_to_slurm_do_not_limit_local_runs_and_change_no_key() {
    let stage = "stages: {a: {run: 'echo 1 > \"$OUT_y\"', outputs: [y]";
    let project = Project::new(&format!("{stage}}}}}"));
    project.expect_run(&[], "a=ran");
    let asks = "resources: {cpus: 64, memory: 900G, time: 2h, partition: p, requeue: true}";
    let pipeline = format!("slurm: {{account: lab}}\n{stage}, executor: srun, {asks}}}}}");
    project.write("pipeline.yaml", &pipeline);
    project.expect_run(&["--executor", "local"], "a=hit");
    project.expect_run(&["--executor", "local", "--force"], "a=ran");
}

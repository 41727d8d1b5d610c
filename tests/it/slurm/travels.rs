//! Nodes that do not see the store: a remote carries stages to them and results back.

use tempfile::TempDir;

use super::{Cluster, kill, message};
use crate::harness::{Ended, Project, open_gate};
use crate::remotes::files_below;

const STAGES: &str = "
stages:
  ingest:
    inputs: {train: train.jsonl}
  lines:
    run: wc -l < \"$IN_x\" > \"$OUT_y\"; echo said; pwd
    inputs: {x: ingest:train}
    outputs: [y]
";

const TRAIN: &str =
    "{\"response\": \"a\", \"label\": \"x\"}\n{\"response\": \"b\", \"label\": \"y\"}\n";

fn pipeline(lab: &TempDir, stages: &str) -> String {
    format!(
        "remotes: {{lab: '{}'}}\nslurm: {{transfer: remote, late_files: 5s}}\n{stages}",
        lab.path().display()
    )
}

impl Cluster {
    /// Runs with the remote `lab` in a separate mount namespace, so that only the engine sees the
    /// project and the store. `None`, with a message, if there are no mount namespaces.
    fn run_hidden(
        &self,
        project: &Project,
        arguments: &str,
        environment: &[(&str, &str)],
    ) -> Option<Ended> {
        std::fs::create_dir_all(project.path("hidden")).unwrap();
        let pipe = env!("CARGO_BIN_EXE_pipe");
        let script = format!(
            "mount -t tmpfs none hidden && cp *.yaml *.jsonl hidden && cd hidden && \
             {pipe} run --json --executor sbatch --remote lab {arguments}; code=$?; \
             cat cache/logs/*/*.log >&2; exit $code"
        );
        let mut command = self.command("unshare", &["-m", "sh", "-c", &script]);
        command.envs(environment.iter().copied()).current_dir(project.path(""));
        let ended = Ended::of(command.output().unwrap());
        if ended.stderr.contains("unshare") {
            eprintln!("skipped: no mount namespaces here: {}", ended.stderr);
            return None;
        }
        Some(ended)
    }
}

/// A project whose remote `lab` is a folder.
#[track_caller]
fn project(stages: &str) -> (TempDir, Project) {
    let lab = TempDir::new().unwrap();
    let project = Project::new(&pipeline(&lab, stages));
    project.write("train.jsonl", TRAIN);
    (lab, project)
}

#[test]
fn stages_travel_to_nodes_that_see_nothing_and_come_back_with_the_same_bytes() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let (lab, project) = project(STAGES);
    let here = project.expect_run(&["--executor", "local"], "ingest=ran lines=ran").digests();
    let Some(ended) = cluster.run_hidden(&project, "", &[]) else { return };
    assert_eq!(ended.outcomes(), "ingest=ran lines=ran", "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.digests(), here);
    assert!(ended.stderr.contains("said\n"), "the log: {}", ended.stderr);
    assert!(ended.stdout.contains("runs on n"), "{}", ended.stdout);
    let left = files_below(lab.path());
    assert!(!left.iter().any(|name| name.starts_with("jobs/")), "{left:?}");
}

#[test]
fn programs_and_empty_folders_travel_to_nodes_and_back() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let stages = "
stages:
  a:
    run: printf '#!/bin/sh\\necho runs\\n' > $OUT_x; chmod u+x $OUT_x; mkdir -p $OUT_d/e; cp -p $OUT_x $OUT_d/x
    outputs: [x, d]
  b:
    run: $IN_x > $OUT_y; $IN_d/x >> $OUT_y; ls $IN_d >> $OUT_y; mkdir -p $OUT_z/e; cp -p $OUT_y $OUT_z/y
    inputs: {x: a:x, d: a:d}
    outputs: [y, z]
";
    let (_lab, project) = project(stages);
    let here = project.expect_run(&["--executor", "local"], "a=ran b=ran").digests();
    let Some(ended) = cluster.run_hidden(&project, "", &[]) else { return };
    assert_eq!(ended.outcomes(), "a=ran b=ran", "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.digests(), here);
    assert!(ended.stdout.contains("executable:"), "{}", ended.stdout);
}

#[test]
fn an_array_of_variants_travels_and_a_failure_comes_back_with_its_log() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let stages = "stages: {each: {foreach: [1, 2, 3], run: 'echo this is ${item}; test ${item} != 2 && echo ${item} > \"$OUT_y\"', outputs: [y]}}";
    let (_lab, project) = project(stages);
    let Some(ended) = cluster.run_hidden(&project, "--keep-going", &[]) else { return };
    assert_eq!(ended.outcomes(), "each@1=ran each@2=failed each@3=ran", "{}", ended.stdout);
    assert!(ended.stderr.contains("this is 2\n"), "{}", ended.stderr);
    assert_eq!(ended.code, Some(1));
    let message = message(&ended, "each@2");
    assert!(message.contains("exit code 1"), "{message}");
}

#[test]
fn a_built_in_that_fails_on_a_node_names_the_file_as_the_project_does() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let (_lab, project) = project(STAGES);
    project.write("train.jsonl", "{\"label\": \"x\"}\n");
    let Some(ended) = cluster.run_hidden(&project, "", &[]) else { return };
    let message = message(&ended, "ingest");
    assert_eq!(message, "train.jsonl, line 1: no field `response`; there are `label`");
}

#[test]
fn without_a_remote_the_message_names_both_ways_to_reach_the_nodes() {
    let (_lab, project) = project(STAGES);
    let ended = project.pipe(&["run", "--executor", "sbatch"]).expect_code(2);
    assert!(ended.stderr.contains("by way of a remote, and this run has none"), "{}", ended.stderr);
    assert!(ended.stderr.contains("a file system that all nodes share"), "{}", ended.stderr);
    let submitted = project.pipe(&["run", "--submit"]).expect_code(1);
    assert!(submitted.stderr.contains("needs a file system"), "{}", submitted.stderr);
}

#[test]
fn a_node_that_cannot_use_the_remote_is_reported_with_what_it_needs() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let (lab, project) = project(STAGES);
    // A relative path names a folder that only the engine sees.
    let text = project.read("pipeline.yaml").replace(&lab.path().display().to_string(), "lab");
    project.write("pipeline.yaml", &text);
    let Some(ended) = cluster.run_hidden(&project, "", &[]) else { return };
    let failed = ended.about("stage_finished", "ingest");
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("could not use the remote"), "{message}");
    assert!(failed["hint"].as_str().unwrap().contains("credentials"), "{failed}");
}

#[test]
fn an_input_that_is_damaged_in_the_remote_is_refused_by_name() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let (lab, project) = project(STAGES);
    let name = pipe::files::digest::Digest::of_bytes(TRAIN.as_bytes()).to_string();
    let object = lab.path().join("objects").join(&name[..2]).join(&name);
    std::fs::create_dir_all(object.parent().unwrap()).unwrap();
    std::fs::write(&object, TRAIN.replace("\"b\"", "\"B\"")).unwrap();
    let Some(ended) = cluster.run_hidden(&project, "", &[]) else { return };
    let message = message(&ended, "ingest");
    assert!(message.contains(&name) && message.contains("is damaged there"), "{message}");
}

#[test]
fn with_a_secret_a_result_that_is_not_signed_is_refused() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let (_lab, project) = project(STAGES);
    let secret = [("PIPE_REMOTE_SECRET", "between us")];
    let Some(ended) = cluster.run_hidden(&project, "", &secret) else { return };
    assert_eq!(ended.outcomes(), "ingest=ran lines=ran", "{}", ended.stdout);
    // A node that does not have the secret.
    let text =
        project.read("pipeline.yaml").replace("late_files", "options: [--export=NONE], late_files");
    project.write("pipeline.yaml", &text);
    project.write("train.jsonl", &TRAIN.replace("\"b\"", "\"c\""));
    let Some(ended) = cluster.run_hidden(&project, "", &secret) else { return };
    let message = message(&ended, "ingest");
    assert!(message.contains("is not signed with the shared secret"), "{message}");
}

#[test]
fn a_second_engine_takes_over_the_travelling_job_of_a_killed_one() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let lab = TempDir::new().unwrap();
    let project = Project::new("");
    let (gate, begun, log) = (project.fifo("gate"), project.path("begun"), project.path("ran.log"));
    let run = format!(
        "echo one >> {}; echo 1 > {}; read go < {}; echo 1 > \"$OUT_y\"",
        log.display(),
        begun.display(),
        gate.display()
    );
    let stages = format!("stages: {{one: {{run: '{run}', outputs: [y]}}}}");
    project.write("pipeline.yaml", &pipeline(&lab, &stages));
    let running = cluster.begin(&project, &["--remote", "lab"]);
    kill(running);
    open_gate(&gate);
    let ended = cluster.start_run(&project, &["--remote", "lab"]).end().expect_code(0);
    assert_eq!(ended.outcomes(), "one=ran", "{}", ended.stdout);
    assert_eq!(project.take_log(), "one");
}

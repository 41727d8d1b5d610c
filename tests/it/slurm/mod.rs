//! The executor `slurm` against a real Slurm: batch jobs and steps, and everything that ends a job.

mod cluster;
mod ends;
mod requests;
mod returns;
mod submitted;
mod travels;

use std::path::Path;

use rustix::process::Signal;

use crate::harness::{Ended, Project, Running, open_gate};
use cluster::{Cluster, poll};

impl Cluster {
    /// `pipe` outside of an allocation.
    #[track_caller]
    fn pipe(&self, project: &Project, arguments: &[&str]) -> Ended {
        project.pipe_with(arguments, &[("SLURM_CONF", &self.configuration())])
    }

    /// `pipe run --json --executor sbatch`.
    #[track_caller]
    fn run(&self, project: &Project, arguments: &[&str]) -> Ended {
        self.pipe(project, &[&["run", "--json", "--executor", "sbatch"], arguments].concat())
    }

    /// Starts `pipe run --json --executor sbatch`.
    #[track_caller]
    fn start_run(&self, project: &Project, arguments: &[&str]) -> Running {
        let all = [&["--executor", "sbatch"], arguments].concat();
        project.start_with(&all, &[("SLURM_CONF", &self.configuration())])
    }

    /// Starts a run, and returns when its first stage has written `begun`.
    #[track_caller]
    fn begin(&self, project: &Project, arguments: &[&str]) -> Running {
        let running = self.start_run(project, arguments);
        wait_for_file(&project.path("begun"));
        running
    }

    /// `pipe run --json --executor slurm` in an allocation of all nodes.
    #[track_caller]
    fn run_inside(&self, project: &Project, arguments: &[&str]) -> Ended {
        self.inside(project, &[&["run", "--json", "--executor", "slurm"], arguments].concat())
    }

    #[track_caller]
    fn inside(&self, project: &Project, arguments: &[&str]) -> Ended {
        let salloc = ["-Q", "-N3", "--ntasks-per-node=2", env!("CARGO_BIN_EXE_pipe")];
        let mut command = self.command("salloc", &[&salloc, arguments].concat());
        command.current_dir(project.path("")).env_remove("PIPE_CACHE");
        Ended::of(command.output().unwrap())
    }
}

/// Waits until a stage has written this file, and returns its content.
#[track_caller]
fn wait_for_file(path: &Path) -> String {
    let written = || std::fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'));
    poll(300, written).unwrap_or_else(|| panic!("nobody has written {}", path.display()))
}

#[track_caller]
fn kill(running: Running) {
    running.signal(Signal::KILL);
    assert_eq!(running.end().signal, Some(9));
}

/// Lets the waiting stage of this run continue, and checks which stages ran.
#[track_caller]
fn finish(project: &Project, running: Running, log: &str) -> Ended {
    open_gate(&project.path("gate"));
    let ended = running.end().expect_code(0);
    assert_eq!(project.take_log(), log);
    ended
}

/// The message with which a stage failed.
#[track_caller]
fn message(ended: &Ended, stage: &str) -> String {
    ended.about("stage_finished", stage)["message"].as_str().unwrap().to_owned()
}

const LIGHT: &str = "
stages:
  ingest:
    inputs: {train: train.jsonl, test: test.jsonl}
  split: {inputs: {examples: ingest:train}}
  baseline:
    inputs: {train: split:train, valid: split:valid, test: ingest:test}
    params: {epochs: 2}
  score: {inputs: {valid: baseline:valid, test: baseline:predictions}}
  count:
    run: wc -l < \"$IN_text\" > \"$OUT_lines\"
    inputs: {text: ingest:train}
    outputs: [lines]
";

fn light() -> Project {
    let project = Project::new(LIGHT);
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample");
    for name in ["train.jsonl", "test.jsonl"] {
        project.write(name, &std::fs::read_to_string(sample.join(name)).unwrap());
    }
    project
}

/// The records of the store, without the fields that describe the run and not the result.
fn results(project: &Project) -> Vec<serde_json::Value> {
    let records = project.stored("records").into_iter().map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        let mut record: serde_json::Value = serde_json::from_str(&text).unwrap();
        // Stages with the same key share a record, under the name of the first that ran.
        for place in ["seconds", "machine", "when", "check", "device", "stage"] {
            record.as_object_mut().unwrap().remove(place);
        }
        record
    });
    records.collect()
}

#[test]
fn a_pipeline_gives_the_same_keys_and_bytes_here_and_both_ways_through_slurm() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let [here, detached, attached] = [light(), light(), light()];
    here.run(&[]).expect_code(0);
    let ended = cluster.run(&detached, &[]).expect_code(0);
    assert_eq!(ended.summary()["ran"], 5);
    let seconds = ended.about("stage_finished", "baseline")["seconds"].as_f64().unwrap();
    assert!(seconds > 0.0, "the time on the node, not in the queue");
    let ended = cluster.run_inside(&attached, &[]).expect_code(0);
    assert_eq!(ended.summary()["ran"], 5);
    assert_eq!(results(&here), results(&detached));
    assert_eq!(results(&here), results(&attached));
    assert!(detached.entries("jobs").is_empty(), "{:?}", detached.entries("jobs"));
    // What ran through Slurm is a hit in a local run.
    detached.run(&[]).expect_code(0);
    assert_eq!(detached.run(&[]).summary()["hits"], 5);
}

const VARIANTS: &str = "
slurm: {array_limit: 4}
stages:
  train:
    foreach: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    run: echo train >> ran.log; echo ${item} > \"$OUT_y\"; echo \"$SLURM_ARRAY_JOB_ID\" >> arrays
    outputs: [y]
  all:
    run: cat \"$IN_y\"/* > \"$OUT_z\"; echo all >> ran.log
    inputs: {y: \"train@*:y\"}
    outputs: [z]
    publish: {z: all.txt}
";

#[test]
fn twelve_variants_are_one_array_or_twelve_steps() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let project = Project::new(VARIANTS);
    cluster.run(&project, &[]).expect_code(0);
    assert_eq!(project.take_log().split(' ').filter(|name| *name == "train").count(), 12);
    assert_eq!(project.read("all.txt").lines().count(), 12);
    let arrays = project.read("arrays");
    let mut ids: Vec<&str> = arrays.lines().collect();
    assert_eq!(ids.len(), 12 + usize::from(ids.contains(&"")), "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 1, "one array: {ids:?}");
    let limit = cluster.ask("scontrol", &["show", "job", "-o", ids[0]]);
    assert!(limit.contains("ArrayTaskThrottle=4"), "{limit}");
    let project = Project::new(VARIANTS);
    cluster.run_inside(&project, &[]).expect_code(0);
    assert_eq!(project.take_log().split(' ').count(), 13);
}

#[test]
fn a_sweep_of_twelve_goes_through_slurm_both_ways() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let asked = ["sweep", "baseline.epochs=1,2,3", "split.seed=1,2,3,4", "--json"];
    let project = light();
    let detached = [asked.as_slice(), &["--executor", "sbatch"]].concat();
    let ended = cluster.pipe(&project, &detached);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ran = ended.outcomes().split(' ').filter(|it| it.starts_with("baseline@")).count();
    assert_eq!(ran, 12, "{}", ended.stdout);
    let other = light();
    cluster.inside(&other, &[asked.as_slice(), &["--executor", "slurm"]].concat()).expect_code(0);
    assert_eq!(results(&project), results(&other));
}

#[test]
fn a_stage_can_name_its_executor_and_the_option_local_overrides_all_stages() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let project = Project::new(
        "executor: slurm
stages:
  here: {executor: local, run: 'echo \"here=$SLURM_JOB_ID\" >> where; echo 1 > \"$OUT_y\"', outputs: [y]}
  there:
    run: echo \"there=${SLURM_JOB_ID:+job}\" >> where; echo 2 > \"$OUT_y\"
    inputs: {x: here:y}
    outputs: [y]
",
    );
    cluster.pipe(&project, &["run"]).expect_code(0);
    assert_eq!(project.read("where"), "here=\nthere=job\n");
    cluster.pipe(&project, &["run", "--force", "--executor", "local"]).expect_code(0);
    assert_eq!(project.read("where"), "here=\nthere=job\nhere=\nthere=\n");
}

/// Training gives the same bytes on one core and on two, and a requeued training resumes from its
/// checkpoint.
#[cfg(feature = "model")]
#[test]
fn the_default_pipeline_trains_through_slurm_and_resumes_where_it_was_stopped() {
    use crate::job::{ALL_RAN, project_of_epochs};
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let [here, inside, queued] = [1, 2, 3].map(|_| project_of_epochs(6));
    let expected = here.expect_run(&[], ALL_RAN).digests();
    assert_eq!(cluster.run_inside(&inside, &[]).expect_code(0).digests(), expected);
    let pipeline = format!("slurm: {{requeue: true}}\n{}", queued.read("pipeline.yaml"));
    queued.write("pipeline.yaml", &pipeline);
    let slurm = cluster.configuration();
    let environment = [("SLURM_CONF", slurm.as_str()), ("PIPE_CHECKPOINT_SECONDS", "0")];
    let mut running = queued.start_with(&["--executor", "sbatch"], &environment);
    let mut job = String::new();
    // Metrics come at the end of an epoch, so from then on there are checkpoints.
    while running.read_line() {
        let line = running.seen.last().unwrap();
        let message = line["said"]["message"].as_str().unwrap_or_default();
        if line["stage"] == "finetune" && message.contains(" as job ") {
            job = message.rsplit(' ').next().unwrap().to_owned();
        }
        if line["said"]["event"] == "metrics" && line["stage"] == "finetune" {
            break;
        }
    }
    cluster.ask("scontrol", &["requeue", &job]);
    cluster.start_requeued(&job);
    let ended = running.end().expect_code(0);
    assert!(ended.stdout.contains("resumed at step "), "{}", ended.stdout);
    assert_eq!(ended.digests(), expected);
}

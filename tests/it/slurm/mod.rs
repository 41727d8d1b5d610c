//! The executor `slurm` against a real Slurm: batch jobs and steps, and everything that ends a job.

mod cluster;
mod ends;
mod requests;
mod returns;
mod submitted;
mod travels;

use std::path::Path;

use crate::harness::{Ended, Project, Running};
use cluster::Cluster;

impl Cluster {
    /// `pipe run --json --executor sbatch`.
    #[track_caller]
    fn run(&self, project: &Project, arguments: &[&str]) -> Ended {
        let all = [&["run", "--json", "--executor", "sbatch"], arguments].concat();
        project.pipe_with(&all, &[("SLURM_CONF", &self.configuration())])
    }

    #[track_caller]
    fn start_run(&self, project: &Project, arguments: &[&str]) -> Running {
        let all = [&["--executor", "sbatch"], arguments].concat();
        project.start_with(&all, &[("SLURM_CONF", &self.configuration())])
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
    for _ in 0..3000 {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => std::thread::sleep(std::time::Duration::from_millis(100)),
        }
    }
    panic!("nobody has written {}", path.display());
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

/// The parts of a store's records that describe results.
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
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
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
    // What ran there is a hit here.
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
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
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
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let asked = ["sweep", "baseline.epochs=1,2,3", "split.seed=1,2,3,4", "--json"];
    let project = light();
    let detached = [asked.as_slice(), &["--executor", "sbatch"]].concat();
    let ended = project.pipe_with(&detached, &[("SLURM_CONF", &cluster.configuration())]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let ran = ended.outcomes().split(' ').filter(|it| it.starts_with("baseline@")).count();
    assert_eq!(ran, 12, "{}", ended.stdout);
    let other = light();
    cluster.inside(&other, &[asked.as_slice(), &["--executor", "slurm"]].concat()).expect_code(0);
    assert_eq!(results(&project), results(&other));
}

#[test]
fn a_stage_says_itself_where_it_runs_and_local_is_for_all() {
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
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
    let slurm = [("SLURM_CONF", cluster.configuration())];
    let slurm: Vec<(&str, &str)> = slurm.iter().map(|(k, v)| (*k, v.as_str())).collect();
    project.pipe_with(&["run"], &slurm).expect_code(0);
    assert_eq!(project.read("where"), "here=\nthere=job\n");
    project.pipe_with(&["run", "--force", "--executor", "local"], &slurm).expect_code(0);
    assert_eq!(project.read("where"), "here=\nthere=job\nhere=\nthere=\n");
}

/// Training gives the same bytes on one core and on two, and a requeued training resumes from its
/// checkpoint.
#[cfg(feature = "model")]
#[test]
fn the_default_pipeline_trains_through_slurm_and_goes_on_where_it_was_ended() {
    use crate::job::{ALL_RAN, project_of_epochs};
    let Some(cluster) = Cluster::get() else { return };
    let _turn = cluster.together();
    let [here, inside, queued] = [1, 2, 3].map(|_| project_of_epochs(6));
    let expected = here.expect_run(&[], ALL_RAN).digests();
    assert_eq!(cluster.run_inside(&inside, &[]).expect_code(0).digests(), expected);
    let pipeline = format!("slurm: {{requeue: true}}\n{}", queued.read("pipeline.yaml"));
    queued.write("pipeline.yaml", &pipeline);
    let slurm = cluster.configuration();
    let environment = [("SLURM_CONF", slurm.as_str()), ("PIPE_CHECKPOINT_SECONDS", "0")];
    let mut running = queued.start_with(&["--executor", "sbatch"], &environment);
    let mut job = String::new();
    // Its first epoch is over, so there are checkpoints.
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
    cluster.wait_for("squeue", &["-h", "-o", "%T", "-j", &job], |said| said.trim() == "PENDING");
    cluster.ask("scontrol", &["update", &format!("JobId={job}"), "StartTime=now"]);
    let ended = running.end().expect_code(0);
    assert!(ended.stdout.contains("resumed at step "), "{}", ended.stdout);
    assert_eq!(ended.digests(), expected);
}

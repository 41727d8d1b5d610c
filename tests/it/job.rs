//! The whole default pipeline, as it is in the repository.

#![cfg(feature = "model")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::Project;

pub const ALL_RAN: &str = "finetune=ran ingest=ran predict=ran score=ran split=ran tokenize=ran";

fn project() -> Project {
    project_of_epochs(1)
}

/// A copy of what the default pipeline reads, with this many epochs of training, and with a smaller
/// model of random weights.
pub fn project_of_epochs(epochs: u32) -> Project {
    project_with(epochs, "models/small-roberta")
}

fn project_with(epochs: u32, model: &str) -> Project {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pipeline = fs::read_to_string(root.join("pipeline.yaml")).unwrap();
    let replaced = ["epochs: 6", "models/tweet-encoder"];
    assert!(replaced.iter().all(|text| pipeline.contains(text)));
    let pipeline = pipeline.replace(replaced[0], &format!("epochs: {epochs}"));
    let project = Project::new(&pipeline.replace(replaced[1], model));
    for folder in ["data/sample", model] {
        fs::create_dir_all(project.path(folder)).unwrap();
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, project.path(folder).join(path.file_name().unwrap())).unwrap();
        }
    }
    project
}

#[test]
fn the_default_pipeline_starts_from_the_bundled_encoder() {
    let project = project_with(1, "models/tweet-encoder");
    let weights = fs::metadata(project.path("models/tweet-encoder/model.safetensors")).unwrap();
    assert!(weights.len() < 20_000_000, "{} bytes", weights.len());
    let ended = project.expect_run(&[], ALL_RAN);
    assert!(!ended.stdout.contains("random"), "{}", ended.stdout);
    let new = "new parameters: classifier.dense.weight, classifier.dense.bias, \
               classifier.out_proj.weight, classifier.out_proj.bias\"";
    assert!(ended.stdout.contains(new), "{}", ended.stdout);
}

#[test]
fn the_second_run_does_nothing_and_another_learning_rate_reruns_what_it_touches() {
    let project = project();
    project.expect_run(&[], ALL_RAN);
    let answer = project.read("answer.txt");
    let ids: Vec<&str> = answer.lines().filter_map(|line| line.split(',').next()).collect();
    let test = project.read("data/sample/test.jsonl");
    assert_eq!(ids.len(), 120);
    for (id, line) in ids.iter().zip(test.lines()) {
        assert!(line.starts_with(&format!("{{\"id\": \"{id}\"")), "{id} is out of order");
    }
    project.expect_run(&[], "finetune=hit ingest=hit predict=hit score=hit split=hit tokenize=hit");
    project.expect_run(
        &["--set", "finetune.learning_rate=3e-5"],
        "finetune=ran ingest=hit predict=ran score=ran split=hit tokenize=hit",
    );
}

#[test]
fn the_store_holds_the_same_digests_whatever_the_jobs_and_threads() {
    let digests = |arguments: &[&str]| {
        let project = project();
        project.expect_run(arguments, ALL_RAN);
        let objects = project.stored("objects");
        let root = project.path("cache/objects");
        objects.iter().map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let one = digests(&["--jobs", "1", "--threads", "1"]);
    assert!(one.len() > 12, "{one:?}");
    assert_eq!(one, digests(&["--jobs", "4", "--threads", "3"]));
}

#[test]
fn a_stage_on_a_device_that_is_not_there_fails_and_says_what_to_do() {
    let project = project();
    for device in ["cuda:7", "vulkan:7"] {
        let ended = project.run(&["--device", device]);
        assert_eq!(ended.code, Some(1));
        let missing = format!("`{device}` is not available");
        assert!(ended.stdout.contains(&missing), "{}", ended.stdout);
    }
}

#[test]
fn a_training_killed_at_ten_random_steps_ends_with_the_bytes_of_one_left_alone() {
    const STEPS: usize = 3 * 19;
    let unbroken = project_of_epochs(3).expect_run(&[], ALL_RAN).digests();
    let project = project_of_epochs(3);
    let every_step = [("PIPE_CHECKPOINT_SECONDS", "0")];
    let mut targets = std::collections::BTreeSet::new();
    let mut random = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    while targets.len() < 10 {
        // A linear congruential generator (Knuth's MMIX) is random enough to spread ten steps.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        targets.insert(1 + (random >> 33) as usize % (STEPS - 1));
    }
    println!("killed at steps {targets:?} of {STEPS}");
    for target in &targets {
        let mut running = project.start_with(&[], &every_step);
        while newest_checkpoint(&project) < *target {
            assert!(running.is_alive(), "it ended before step {target}");
            std::thread::yield_now();
        }
        running.signal(rustix::process::Signal::KILL);
        let ended = running.end();
        assert_eq!(ended.signal, Some(9), "it was over before step {target}");
    }
    let reached = newest_checkpoint(&project);
    let ended = project.run(&[]).expect_code(0);
    let resumed = format!("resumed at step {reached} of {STEPS}");
    assert!(ended.stdout.contains(&resumed), "{resumed}: {}", ended.stdout);
    assert_eq!(ended.digests(), unbroken);
    assert_eq!(project.entries("state"), [""; 0].map(std::path::PathBuf::from));
    let record =
        project.pipe(&["cache", "show", "--record", "finetune:model"]).expect_code(0).stdout;
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["history"].as_array().unwrap().len(), 3, "the record has all epochs");
}

#[test]
fn an_interrupted_training_loses_no_step_and_ends_with_the_bytes_of_one_left_alone() {
    let unbroken = project_of_epochs(2).expect_run(&[], ALL_RAN).digests();
    let project = project_of_epochs(2);
    let mut running = project.start_with(&[], &[("PIPE_CHECKPOINT_SECONDS", "100000")]);
    while !running.seen.last().is_some_and(|line| line.to_string().contains("train_loss")) {
        assert!(running.read_line(), "no epoch ended");
    }
    running.signal(rustix::process::Signal::INT);
    let ended = running.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
    let reached = newest_checkpoint(&project);
    let ended = project.run(&[]).expect_code(0);
    assert!(reached > 0 && ended.stdout.contains(&format!("resumed at step {reached} of ")));
    assert_eq!(ended.digests(), unbroken);
}

/// The step of the newest checkpoint of a running training; 0 before the first.
pub fn newest_checkpoint(project: &Project) -> usize {
    let step = |path: &PathBuf| -> Option<usize> {
        path.file_name()?
            .to_str()?
            .strip_prefix("step-")?
            .strip_suffix(".safetensors")?
            .parse()
            .ok()
    };
    let folders = fs::read_dir(project.path("cache/state")).into_iter().flatten();
    let files = folders.flatten().filter_map(|folder| fs::read_dir(folder.path()).ok()).flatten();
    files.flatten().filter_map(|file| step(&file.path())).max().unwrap_or(0)
}

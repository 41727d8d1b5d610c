//! The default pipeline, whole, as it is in the repository.

#![cfg(feature = "model")]

use std::fs;
use std::path::Path;

use crate::harness::Project;

const ALL_RAN: &str = "finetune=ran ingest=ran predict=ran score=ran split=ran tokenize=ran";

fn project() -> Project {
    project_of_epochs(1)
}

/// A copy of what the default pipeline reads, with a training of that length.
fn project_of_epochs(epochs: u32) -> Project {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pipeline = fs::read_to_string(root.join("pipeline.yaml")).unwrap();
    assert!(pipeline.contains("epochs: 6"));
    let project = Project::new(&pipeline.replace("epochs: 6", &format!("epochs: {epochs}")));
    for folder in ["data/sample", "models/small-roberta"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            project.write(&format!("{folder}/{}", path.file_name().unwrap().display()), &text);
        }
    }
    project
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
    let ended = project.run(&["--device", "cuda:7"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("`cuda:7` is not available"), "{}", ended.stdout);
}

#[test]
fn a_killed_training_goes_on_where_it_was_and_ends_with_the_same_bytes() {
    let unbroken = project_of_epochs(3).expect_run(&[], ALL_RAN).digests();
    let project = project_of_epochs(3);
    let every_step = [("PIPE_CHECKPOINT_SECONDS", "0")];
    let mut kills = 0;
    // Each run gets a little further before it is killed without warning.
    let ended = loop {
        let mut running = project.start_with(&[], &every_step);
        let mut steps_seen = 0;
        while steps_seen < 1 + kills % 3 && running.read_line() {
            let last = running.seen.last().unwrap();
            let is_step = last["stage"] == "finetune" && last["said"]["event"] == "progress";
            steps_seen += i32::from(is_step);
        }
        let has_trained = running
            .seen
            .iter()
            .any(|line| line["event"] == "stage_finished" && line["stage"] == "finetune");
        if has_trained || kills == 10 {
            break running.end();
        }
        running.signal(rustix::process::Signal::KILL);
        running.end();
        kills += 1;
    };
    assert!(kills >= 3, "the training was over after {kills} kills");
    assert!(ended.stdout.contains("resumed at step"), "{}", ended.stdout);
    let ended = project.run(&[]).expect_code(0);
    assert_eq!(ended.digests(), unbroken);
    assert_eq!(project.entries("state"), [""; 0].map(std::path::PathBuf::from));
}

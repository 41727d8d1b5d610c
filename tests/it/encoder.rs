//! The pipeline that makes an encoder, as it is in the repository, with few texts and a tiny
//! shape.

#![cfg(feature = "model")]

use std::fs;
use std::path::Path;

use crate::harness::{Ended, Project};
use crate::job::newest_checkpoint;

const ALL_RAN: &str = "pretrain=ran train-tokenizer=ran";

/// The sample's responses as plain text, and the pipeline beside them.
fn project() -> Project {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let project = Project::new(&fs::read_to_string(root.join("examples/encoder.yaml")).unwrap());
    let sample = fs::read_to_string(root.join("data/sample/train.jsonl")).unwrap();
    let texts = sample.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["response"].as_str().unwrap().replace('\n', " ") + "\n"
    });
    project.write("tweets.txt", &texts.collect::<String>());
    project
}

/// Runs a tiny encoder for three short epochs.
fn run(project: &Project, arguments: &[&str]) -> Ended {
    project.run(&[&TINY[..], arguments].concat())
}

const TINY: [&str; 18] = [
    "--set",
    "vocab_size=500",
    "--set",
    "pretrain.layers=2",
    "--set",
    "pretrain.hidden=32",
    "--set",
    "pretrain.heads=2",
    "--set",
    "pretrain.batch_tokens=512",
    "--set",
    "pretrain.epochs=3",
    "--set",
    "pretrain.evaluate_every=7",
    "--set",
    "pretrain.valid_share=0.1",
    "--set",
    "pretrain.whole_word=true",
];

#[test]
fn an_encoder_is_made_and_published_and_its_training_is_shown() {
    let project = project();
    let ended = run(&project, &[]).expect_code(0);
    assert_eq!(ended.outcomes(), ALL_RAN);
    for name in ["config.json", "model.safetensors", "tokenizer.json", "vocab.json", "merges.txt"] {
        assert!(project.path("own-encoder").join(name).is_file(), "{name}");
    }
    let shown = [&["show", "pretrain:metrics"][..], &TINY].concat();
    let shown = project.pipe(&shown).expect_code(0);
    assert!(shown.stdout.contains("valid_perplexity"), "{}", shown.stdout);
    project.pipe(&["report", "last"]).expect_code(0);
    let report = project.read("report.html");
    assert!(report.contains("valid_loss") && report.contains(">step</text>"), "no chart by step");
    assert!(!report.contains(">epoch</text>"), "the chart counts steps, not epochs");
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let digests = |threads: &str| {
        let project = project();
        let ended = run(&project, &["--threads", threads]).expect_code(0);
        (ended.digests(), project.read("own-encoder.metrics.jsonl"))
    };
    let one = digests("1");
    assert!(one == digests("2"), "two threads");
    assert!(one == digests("3"), "three threads");
}

#[test]
fn a_pretraining_killed_at_several_steps_gives_the_bytes_of_an_uninterrupted_one() {
    let unbroken = project();
    let whole = run(&unbroken, &[]).expect_code(0).digests();
    let project = project();
    // Kill in the first epoch, at an evaluation, at the end of an epoch and near the end.
    for target in [2, 7, 9, 15] {
        let mut running = project.start_with(&TINY, &[("PIPE_CHECKPOINT_SECONDS", "0")]);
        while newest_checkpoint(&project) < target {
            assert!(running.is_alive(), "it ended before step {target}");
            std::thread::yield_now();
        }
        running.signal(rustix::process::Signal::KILL);
        assert_eq!(running.end().signal, Some(9), "it was over before step {target}");
    }
    let reached = newest_checkpoint(&project);
    let ended = run(&project, &[]).expect_code(0);
    assert!(ended.stdout.contains(&format!("resumed at step {reached} of ")), "{}", ended.stdout);
    assert_eq!(ended.digests(), whole);
    let metrics = "own-encoder.metrics.jsonl";
    assert_eq!(project.read(metrics), unbroken.read(metrics));
}

//! Training that continues from a shorter run, and training that is short of memory: the default
//! pipeline with a longer or larger `finetune`.

#![cfg(feature = "model")]

use std::collections::BTreeMap;
use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::harness::{Ended, Project};
use crate::job::{ALL_RAN, project_of_epochs};

const LEVEL: [&str; 2] = ["--set", "finetune.schedule=constant"];

fn epochs(count: u32) -> String {
    format!("finetune.epochs={count}")
}

/// Runs with a constant learning rate and this many epochs.
fn train(project: &Project, count: u32) -> Ended {
    project.run(&[&LEVEL[..], &["--set", &epochs(count)]].concat()).expect_code(0)
}

fn notes(ended: &Ended) -> Vec<String> {
    let said = ended.events().into_iter().filter(|event| event["stage"] == "finetune");
    let notes = said.filter_map(|event| Some(event["said"]["message"].as_str()?.to_owned()));
    notes.collect()
}

#[test]
fn a_longer_training_goes_on_from_a_shorter_one_and_ends_with_the_same_bytes() {
    let whole = train(&project_of_epochs(1), 3);
    let project = project_of_epochs(1);
    train(&project, 1);
    let explained = ["explain", "finetune", "--set", &epochs(3)];
    let explained = project.pipe(&[&explained[..], &LEVEL].concat()).expect_code(0).stdout;
    assert!(
        explained.contains("continues from the end of the run with `epochs: 1`"),
        "{explained}"
    );
    let prolonged = train(&project, 3);
    assert_eq!(prolonged.digests(), whole.digests());
    let notes = notes(&prolonged);
    assert!(notes.contains(&"continues from the end of the run with `epochs: 1`".to_owned()));
    assert!(notes.contains(&"resumed at step 19 of 57".to_owned()), "{notes:?}");
    // When forced, it starts from the beginning and computes the same bytes.
    let forced = ["--force", "--set", &epochs(3), "finetune"];
    let forced = project.run(&[&LEVEL[..], &forced].concat()).expect_code(0);
    assert!(!forced.stdout.contains("continues from"), "{}", forced.stdout);
    assert_eq!(forced.digests()["finetune"], whole.digests()["finetune"]);
}

#[test]
fn a_state_to_go_on_from_is_collected_with_the_last_result_of_its_family() {
    let project = project_of_epochs(1);
    train(&project, 1);
    project.pipe(&["cache", "gc", "--keep-last", "1"]).expect_code(0);
    assert!(!project.stored("continuations").is_empty());
    project.expect_run(&[], "finetune=ran ingest=hit predict=ran score=ran split=hit tokenize=hit");
    project.pipe(&["cache", "gc", "--keep-last", "1"]).expect_code(0);
    assert!(project.stored("continuations").is_empty());
}

#[test]
fn a_damaged_state_of_a_shorter_training_is_not_gone_on_from() {
    let whole = train(&project_of_epochs(1), 2);
    let project = project_of_epochs(1);
    train(&project, 1);
    let states = project.stored("continuations");
    assert!(!states.is_empty());
    for state in &states {
        let mut bytes = fs::read(state).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(state, bytes).unwrap();
    }
    let again = train(&project, 2);
    let warned = notes(&again).into_iter().any(|note| note.contains("its checksum does not match"));
    assert!(warned, "{}", again.stdout);
    assert!(!again.stdout.contains("resumed at step"), "{}", again.stdout);
    assert_eq!(again.digests(), whole.digests());
}

#[test]
fn a_schedule_over_all_epochs_starts_from_the_beginning_and_says_why() {
    let project = project_of_epochs(1);
    project.expect_run(&[], ALL_RAN);
    assert!(project.stored("continuations").is_empty(), "no state is kept that nobody can use");
    let explained = project.pipe(&["explain", "finetune", "--set", &epochs(2)]).expect_code(0);
    let why = "starts from the beginning instead of continuing from `epochs: 1`: the learning rate falls to 0";
    assert!(explained.stdout.contains(why), "{}", explained.stdout);
    let ended = project.run(&["--set", &epochs(2)]).expect_code(0);
    assert!(!ended.stdout.contains("continues from"), "{}", ended.stdout);
}

fn losses(project: &Project) -> Vec<f64> {
    let metrics = project.pipe(&["cache", "cat", "finetune:metrics", "--set", BATCH]);
    let rows = metrics.expect_code(0).stdout;
    let rows = rows.lines().map(serde_json::from_str::<BTreeMap<String, f64>>);
    rows.map(|row| row.unwrap()["train_loss"]).collect()
}

/// A batch whose activations would take about 500 MB.
const BATCH: &str = "finetune.batch_size=64";

#[test]
fn a_training_short_of_memory_cuts_its_batches_and_loses_the_same() {
    let roomy = project_of_epochs(1);
    roomy.run(&["--set", BATCH]).expect_code(0);
    let project = project_of_epochs(1);
    let arguments = ["run", "--json", "--threads", "1", "--set", BATCH];
    let ended = project.pipe_limited(1_200_000, &arguments).expect_code(0);
    let cut = notes(&ended).into_iter().find(|note| note.starts_with("memory is short"));
    assert!(cut.is_some(), "{}", ended.stdout);
    let pairs = losses(&roomy).into_iter().zip(losses(&project));
    for (whole, cut) in pairs {
        assert!((whole - cut).abs() < 1e-5, "{whole} and {cut}");
    }
}

/// The process of a built-in stage of this project.
fn stage_process(project: &Project) -> Option<Pid> {
    let folder = fs::canonicalize(project.path("cache/tmp")).ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let number = numbers.find(|number: &i32| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("\0stage\0") && line.contains(folder.to_str().unwrap_or("?"))
    })?;
    Pid::from_raw(number)
}

/// The memory it uses, in pages; `u64::MAX` once the process is gone.
fn pages(process: Pid) -> u64 {
    let path = format!("/proc/{}/statm", process.as_raw_nonzero());
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(u64::MAX)
}

#[test]
fn a_training_that_runs_out_of_memory_runs_again_in_smaller_pieces() {
    let project = project_of_epochs(1);
    // One step takes a second or more and allocates memory all the time. Memory is kept for later
    // steps, so it has to be limited during the first step.
    let mut running = project.start(&["--threads", "1", "--set", "finetune.batch_size=256"]);
    let mut until = |what: &str| loop {
        let event = running.seen.last().unwrap_or(&Value::Null);
        if event["stage"] == "finetune" && event["said"]["event"] == what {
            break;
        }
        assert!(running.read_line(), "it ended before it trained");
    };
    until("device");
    let process = stage_process(&project).unwrap();
    until("note");
    // By now the process has checked how much memory there is.
    let begun = pages(process);
    while pages(process) < begun + (100 << 20) / 4096 {}
    let none = Rlimit { current: Some(1 << 20), maximum: None };
    prlimit(Some(process), Resource::As, none).unwrap();
    let ended = running.end().expect_code(0);
    let again = "out of memory; retrying with smaller pieces";
    let notes = notes(&ended);
    assert!(notes.iter().any(|note| note == again), "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("memory is short")), "{notes:?}");
}

/// Writes the first lines of a sample file into the project.
fn beginning(project: &Project, name: &str, lines: usize) -> String {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/data/sample");
    let text = fs::read_to_string(format!("{sample}/{name}.jsonl")).unwrap();
    let text: String = text.lines().take(lines).flat_map(|line| [line, "\n"]).collect();
    project.write(&format!("{name}.jsonl"), &text);
    format!("{name}={}", project.path(&format!("{name}.jsonl")).display())
}

#[test]
fn the_record_of_runs_is_repeated_in_small() {
    let project = Project::new("");
    let (train, test) = (beginning(&project, "train", 120), beginning(&project, "test", 24));
    let pipeline = concat!(env!("CARGO_MANIFEST_DIR"), "/pipeline.yaml");
    let mut arguments = vec!["-f", pipeline, "--cache", "store", "sweep", "record", "--csv"];
    for setting in [&train, &test, "model=models/small-roberta", "finetune.epochs=1"] {
        arguments.extend(["--set", setting]);
    }
    let ended = project.pipe(&arguments).expect_code(0);
    let mut rows = ended.stdout.lines();
    let header: Vec<&str> = rows.next().unwrap().split(',').collect();
    // Counted from the end, because a value in quotation marks before it has a comma.
    let score = header.iter().rev().position(|name| *name == "score.test_f1").unwrap();
    let scores: Vec<f64> =
        rows.map(|row| row.rsplit(',').nth(score).unwrap().parse().unwrap()).collect();
    assert_eq!(scores.len(), 18, "{}", ended.stdout);
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let again = project.pipe(&arguments).expect_code(0);
    assert_eq!(again.stdout, ended.stdout);
    assert!(!again.stderr.contains("finetune  runs"), "{}", again.stderr);
}

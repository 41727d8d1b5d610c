//! `pipe init` on several labels a text and on numbers.

use crate::harness::{Ended, Project};
use crate::init::folder;

/// A project with a file of 60 rows, and what `pipe init` says about it.
fn init(
    file: &str,
    header: &str,
    row: impl Fn(usize) -> String,
    more: &[&str],
) -> (Project, Ended) {
    let project = folder();
    let rows: String = (0..60).map(|index| row(index) + "\n").collect();
    project.write(file, &format!("{header}{rows}"));
    let ended = project.pipe(&[&["init", "--data", file], more].concat());
    (project, ended)
}

fn text(index: usize) -> String {
    format!("this is the text number {index}, of some length")
}

fn json_lists(index: usize) -> String {
    let labels = ["[]", "[\"joy\"]", "[\"anger\", \"joy\"]"][index % 3];
    format!("{{\"text\": \"{}\", \"emotions\": {labels}}}", text(index))
}

#[test]
fn a_field_of_lists_is_several_labels_a_text() {
    let (project, ended) = init("rows.jsonl", "", json_lists, &[]);
    let told = ended.expect_code(0).stderr;
    assert!(told.contains("2 labels, any number of them a text: anger (20), joy (40)"), "{told}");
    let yaml = project.read("pipeline.yaml");
    assert!(yaml.contains("task: multi\n      label_field: emotions\n"), "{yaml}");
    project.expect_run(&[], "baseline=ran ingest=ran score=ran split=ran");
}

#[test]
fn columns_of_0_and_1_are_labels() {
    let row = |index: usize| {
        format!("\"{}\",{},{}", text(index), index % 2, usize::from(index.is_multiple_of(3)))
    };
    let (project, ended) = init("rows.csv", "comment,toxic,insult\n", row, &[]);
    let told = ended.expect_code(0).stderr;
    assert!(told.contains("the labels are `toxic`,\n`insult`; 2 labels"), "{told}");
    let yaml = project.read("pipeline.yaml");
    assert!(yaml.contains("label_fields: [\"toxic\",\"insult\"]"), "{yaml}");
    project.expect_run(&[], "baseline=ran ingest=ran score=ran split=ran");
    let (project, ended) =
        init("rows.csv", "comment,toxic,insult\n", row, &["--label", "toxic,insult"]);
    ended.expect_code(0);
    assert_eq!(project.read("pipeline.yaml"), yaml);
    // A single one is a label with two values.
    let (project, ended) = init("rows.csv", "comment,toxic,insult\n", row, &["--label", "toxic"]);
    ended.expect_code(0);
    assert!(project.read("pipeline.yaml").contains("label_field: toxic\n"));
}

#[test]
fn labels_with_a_separator_are_several_if_it_is_named() {
    let row =
        |index: usize| format!("\"{}\",{}", text(index), ["joy", "joy;anger", "fear"][index % 3]);
    let (project, ended) = init("rows.csv", "text,label\n", row, &["--label-separator", ";"]);
    ended.expect_code(0);
    let yaml = project.read("pipeline.yaml");
    assert!(
        yaml.contains("label_separator: \";\"") && yaml.contains("[anger, fear, joy]"),
        "{yaml}"
    );
    project.expect_run(&[], "baseline=ran ingest=ran score=ran split=ran");
}

#[test]
fn fine_numbers_are_a_regression_and_few_whole_ones_are_labels() {
    let row = |index: usize| format!("\"{}\",{}", text(index), index as f64 / 7.0);
    let (project, ended) = init("rows.csv", "text,score\n", row, &[]);
    let told = ended.expect_code(0).stderr;
    assert!(told.contains("so the task is `regression`"), "{told}");
    let yaml = project.read("pipeline.yaml");
    assert!(yaml.contains("task: regression") && yaml.contains("stratify: false"), "{yaml}");
    assert!(!yaml.contains("labels"), "{yaml}");
    project.expect_run(&[], "baseline=ran ingest=ran score=ran split=ran");
    let row = |index: usize| format!("\"{}\",{}", text(index), index % 5);
    let (project, ended) = init("rows.csv", "text,stars\n", row, &[]);
    ended.expect_code(0);
    assert!(!project.read("pipeline.yaml").contains("task:"));
}

#[test]
fn a_labelled_test_file_of_several_labels_is_scored_and_no_audit_is_written() {
    let project = folder();
    let rows = |from: usize| (from..from + 60).map(|it| json_lists(it) + "\n").collect::<String>();
    project.write("train.jsonl", &rows(0));
    project.write("test.jsonl", &rows(60));
    let refused = project.pipe(&["init", "--audit"]).expect_code(2).stderr;
    assert!(refused.contains("--audit judges one label a text"), "{refused}");
    assert!(!project.path("pipeline.yaml").exists());
    project.pipe(&["init"]).expect_code(0);
    let yaml = project.read("pipeline.yaml");
    assert!(yaml.contains("test: baseline:predictions"), "{yaml}");
    project.expect_run(&[], "baseline=ran ingest=ran score=ran split=ran");
    let wrong = project.pipe(&["init", "--task", "mutli", "--out", "x.yaml"]).expect_code(2).stderr;
    assert!(wrong.contains("multi"), "{wrong}");
}

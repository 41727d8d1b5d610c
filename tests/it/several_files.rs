//! An input of several files: a list, or a pattern of names.

use serde_json::Value;

use crate::harness::Project;

const PATTERN: &str = "stages:\n  ingest:\n    inputs: {train: 'data/part-*'}\n    \
    params: {text_field: text, label_field: label, id_field: null}\n    publish: {train: all.jsonl}\n";

fn project(pipeline: &str) -> Project {
    let project = Project::new(pipeline);
    project.write("data/part-2.csv", "text,label\nthird,no\nfourth,yes\n");
    project.write(
        "data/part-1.jsonl",
        "{\"text\": \"first\", \"label\": \"yes\"}\n\n{\"text\": \"second\", \"label\": \"no\"}\n",
    );
    project.write("data/other.csv", "text,label\nother,no\n");
    project
}

/// The id, the file, the line and the text of each example.
fn rows(project: &Project) -> Vec<String> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        format!("{} {}:{} {}", text("id"), text("file"), row["line"], text("text"))
    };
    project.read("all.jsonl").lines().map(row).collect()
}

#[test]
fn the_files_of_a_pattern_are_read_in_the_order_of_their_names() {
    let project = project(PATTERN);
    project.expect_run(&[], "ingest=ran");
    assert_eq!(
        rows(&project),
        [
            "train_1 part-1.jsonl:1 first",
            "train_3 part-1.jsonl:3 second",
            "train_5 part-2.csv:2 third",
            "train_6 part-2.csv:3 fourth",
        ]
    );
    let why = project.pipe(&["why-row", "train_5"]).expect_code(0).stdout;
    assert!(why.contains("data/part-2.csv, line 2 (ingest:train)"), "{why}");
    project.expect_run(&[], "ingest=hit");
    project.write("data/part-3.csv", "text,label\nfifth,no\n");
    project.expect_run(&[], "ingest=ran");
    assert_eq!(rows(&project).len(), 5);
    std::fs::remove_file(project.path("data/part-3.csv")).unwrap();
    project.expect_run(&[], "ingest=hit");
}

#[test]
fn a_list_may_hold_names_and_patterns_and_a_single_file_is_as_it_was() {
    let listed = PATTERN.replace("'data/part-*'", "[data/other.csv, 'data/*.jsonl']");
    let project = project(&listed);
    project.expect_run(&[], "ingest=ran");
    assert_eq!(rows(&project)[0], "train_2 other.csv:2 other");
    assert_eq!(rows(&project)[1], "train_3 part-1.jsonl:1 first");
    let single = PATTERN.replace("'data/part-*'", "data/other.csv");
    project.write("pipeline.yaml", &single);
    project.expect_run(&[], "ingest=ran");
    assert_eq!(rows(&project), ["train_2 -:2 other"]);
}

#[test]
fn a_pattern_without_a_file_and_two_files_of_one_name_are_refused() {
    let project = project(&PATTERN.replace("part-*", "port-*"));
    let told = project.run(&[]).expect_code(2).stderr;
    assert!(
        told.contains("input `train` of stage `ingest`: no file matches `data/port-*`"),
        "{told}"
    );
    let twice = PATTERN.replace("'data/part-*'", "[data/other.csv, more/other.csv]");
    project.write("more/other.csv", "text,label\nother,no\n");
    project.write("pipeline.yaml", &twice);
    let told = project.run(&[]).expect_code(2).stderr;
    assert!(told.contains("would both be `other.csv`"), "{told}");
    project.write("pipeline.yaml", &PATTERN.replace("data/part-*", "data/part-[1"));
    let told = project.run(&[]).expect_code(2).stderr;
    assert!(told.contains("`data/part-[1` is no pattern"), "{told}");
    project.write("pipeline.yaml", &PATTERN.replace("data/part-*", "../*"));
    let told = project.run(&[]).expect_code(2).stderr;
    assert!(told.contains("leaves the project"), "{told}");
}

#[test]
fn a_mistake_in_the_second_file_names_it_and_its_line() {
    let project = project(PATTERN);
    project.write("data/part-2.csv", "text,label\nthird,no\nfourth,yes,maybe\n");
    let told = project.run(&[]).expect_code(1);
    let told = format!("{}{}", told.stdout, told.stderr);
    assert!(told.contains("part-2.csv") && told.contains("line 3"), "{told}");
    project.write("data/part-2.csv", "words,label\nthird,no\n");
    let told = project.run(&[]).expect_code(1);
    let told = format!("{}{}", told.stdout, told.stderr);
    assert!(told.contains("part-2.csv") && told.contains("`text`"), "{told}");
}

#[test]
fn a_file_whose_name_looks_like_a_pattern_is_that_file() {
    let project = project(&PATTERN.replace("data/part-*", "data/odd[1].csv"));
    project.write("data/odd[1].csv", "text,label\nodd,no\n");
    project.expect_run(&[], "ingest=ran");
    assert_eq!(rows(&project), ["train_2 -:2 odd"]);
}

//! `pipe review`: a person's decisions become a file that `clean` reads.

use serde_json::Value;

use crate::harness::Project;

/// An audit of six texts, of which two pairs contradict each other, and what cleans them.
fn project() -> Project {
    let project = Project::new(
        "stages:\n  ingest:\n    inputs: {train: data.jsonl}\n    params: {text_field: text}\n  audit:\n    \
         inputs: {examples: ingest:train}\n    params: {bootstrap: 2}\n  clean:\n    \
         inputs: {examples: ingest:train, decisions: review/mine.jsonl}\n",
    );
    let rows = [
        ("a", "the same words"),
        ("b", "the same words"),
        ("a", "others, twice"),
        ("b", "others, twice"),
    ];
    let rows = rows.iter().chain(&[("a", "alone"), ("b", "by itself")]);
    let text: String = rows
        .map(|(label, text)| format!("{{\"text\":\"{text}\",\"label\":\"{label}\"}}\n"))
        .collect();
    project.write("data.jsonl", &text);
    project.write("review/mine.jsonl", "");
    project.run(&["audit"]).expect_code(0);
    project
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn decisions(project: &Project) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = rows(&project.read("review/mine.jsonl"));
    rows.iter().map(|row| (text(&row["id"]), text(&row["decision"]))).collect()
}

#[test]
fn each_line_decides_on_one_example_and_the_next_review_goes_on() {
    let project = project();
    let told = project.pipe_fed(b"k\n\nd\nx\ns\n", &["review"]).expect_code(0);
    assert!(told.stdout.contains("1 of 4  train_1"), "{}", told.stdout);
    assert!(told.stdout.contains("an equal text has another label"), "{}", told.stdout);
    assert!(told.stdout.contains("[k]eep  [d]rop  [s]kip"), "{}", told.stdout);
    assert!(told.stderr.contains("`x` means nothing here"), "{}", told.stderr);
    assert_eq!(told.stdout.matches("3 of 4").count(), 2, "shown again: {}", told.stdout);
    assert!(told.stderr.contains("2 examples decided: 1 to keep, 1 to drop, 0 to relabel; 2 open"));
    let expected = [("train_1", "keep"), ("train_2", "drop")];
    let expected = expected.map(|(id, decision)| (id.to_owned(), decision.to_owned()));
    assert_eq!(decisions(&project), expected);
    let left = project.pipe_fed(b"q\n", &["review"]).expect_code(0);
    assert!(left.stdout.contains("1 of 2  train_3"), "{}", left.stdout);
    project.run(&[]).expect_code(0);
    let cleaned = project.pipe(&["show", "--json", "clean:examples"]).expect_code(0).stdout;
    assert_eq!(rows(&cleaned)[0]["rows"], 5, "{cleaned}");
}

#[test]
fn on_a_terminal_a_decision_is_one_key() {
    let project = project();
    let (code, screen) = project.pipe_typed(&["review"], "[q]uit", b"dkbdq");
    assert_eq!(code, Some(0), "{screen}");
    assert!(
        screen.contains("2 examples decided: 0 to keep, 2 to drop, 0 to relabel; 2 open"),
        "{screen}"
    );
    let expected = [("train_1", "drop"), ("train_2", "drop")];
    assert_eq!(decisions(&project), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn going_back_changes_a_decision() {
    let project = project();
    project.pipe_fed(b"d\nb\nk\nq\n", &["review"]).expect_code(0);
    assert_eq!(decisions(&project), [("train_1".to_owned(), "keep".to_owned())]);
}

#[test]
fn another_label_is_named_by_its_number() {
    let project = project();
    project.pipe_fed(b"2\n2\nr\n", &["review"]).expect_code(0);
    let found = rows(&project.read("review/mine.jsonl"));
    assert_eq!((&found[0]["decision"], &found[0]["to"]), (&"relabel".into(), &"b".into()));
    // It has that label.
    assert_eq!((&found[1]["decision"], found[1].get("to")), (&"keep".into(), None));
    assert_eq!(found.len(), 2, "no label is suggested where none was judged");
}

#[test]
fn a_decision_about_another_text_is_asked_for_again_and_other_rows_stay() {
    let project = project();
    let old = "{\"id\":\"train_1\",\"decision\":\"drop\",\"text\":\"older words\"}\n\
               {\"id\":\"gone\",\"decision\":\"drop\"}\n";
    project.write("review/mine.jsonl", old);
    let told = project.pipe_fed(b"k\n", &["review"]).expect_code(0);
    assert!(told.stdout.contains("1 of 4  train_1"), "{}", told.stdout);
    let expected = [("train_1", "keep"), ("gone", "drop")];
    assert_eq!(decisions(&project), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn a_file_of_decisions_that_cannot_be_read_is_left_alone() {
    let project = project();
    project.write("review/mine.jsonl", "{\"id\":\"a\",\"decision\":\"perhaps\"}\n");
    let told = project.pipe_fed(b"k\n", &["review"]).expect_code(1).stderr;
    assert!(told.contains("review/mine.jsonl, line 1") && told.contains("perhaps"), "{told}");
    assert!(project.read("review/mine.jsonl").contains("perhaps"));
}

#[test]
fn without_an_audit_there_is_nothing_to_review() {
    let project = Project::new("stages: {a: {run: 'true', outputs: [x]}}\n");
    let told = project.pipe(&["review"]).expect_code(2).stderr;
    assert!(told.contains("no stage of the pipeline uses `audit`"), "{told}");
    let project = Project::new("stages:\n  audit: {inputs: {examples: data.jsonl}}\n");
    project.write("data.jsonl", "{\"id\":\"a\",\"text\":\"x\",\"label\":\"y\"}\n");
    let told = project.pipe(&["review"]).expect_code(1).stderr;
    assert!(told.contains("`audit:issues` does not exist yet") && told.contains("pipe run audit"));
    project.run(&[]).expect_code(0);
    let told = project.pipe(&["review"]).expect_code(0).stderr;
    assert!(told.contains("0 examples decided"), "{told}");
}

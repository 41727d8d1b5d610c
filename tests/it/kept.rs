//! What a run keeps so that the next one reads less: the tree of a long pipeline file, and copies of
//! records. Neither may ever change what is decided.

use std::fs;

use crate::harness::Project;

const STAGES: usize = 80;

/// A text that is long enough to be kept, of enough stages.
fn text() -> String {
    let mut text = "stages:\n".to_owned();
    for index in 0..STAGES {
        text.push_str(&format!(
            "  s{index}:\n    # {}\n    run: cat \"$IN_x\" > \"$OUT_y\"\n    inputs: {{x: a.txt}}\n    \
             params: {{name: s{index}}}\n    outputs: [y]\n",
            "-".repeat(200),
        ));
    }
    text
}

/// A project in which a run with nothing to do has kept both.
fn kept() -> Project {
    let project = Project::new(&text());
    project.write("a.txt", "1\n");
    project.run(&["-q"]).expect_code(0);
    assert!(project.path("cache/parsed").is_file());
    // A record is not copied in the tick of the clock in which it was written.
    let is_copied = || {
        assert_eq!(project.run(&[]).expect_code(0).summary()["hits"], STAGES);
        project.path("cache/bundle").is_file()
    };
    assert!((0..1000).any(|_| is_copied()));
    project
}

#[track_caller]
fn status(project: &Project) -> String {
    let status = project.pipe(&["status", "--json"]);
    assert_eq!(status.code, Some(0), "{}", status.stderr);
    status.stdout
}

#[test]
fn a_status_is_the_same_with_what_was_kept_without_it_and_when_it_is_damaged() {
    let project = kept();
    let with = status(&project);
    for file in ["cache/parsed", "cache/bundle"] {
        let file = project.path(file);
        let whole = fs::read(&file).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        fs::write(&file, damaged).unwrap();
        assert_eq!(status(&project), with, "{} is damaged", file.display());
        fs::write(&file, &whole[..whole.len() / 3]).unwrap();
        assert_eq!(status(&project), with, "{} is cut off", file.display());
        fs::remove_file(&file).unwrap();
        assert_eq!(status(&project), with, "{} is gone", file.display());
    }
}

#[test]
fn a_kept_tree_tells_the_lines_of_the_text_and_a_changed_text_has_a_tree_of_its_own() {
    let project = kept();
    let problem = |project: &Project| {
        let ended = project.pipe(&["run", "--set", "s3.inputs.x=gone.txt"]);
        assert_eq!(ended.code, Some(2));
        ended.stderr
    };
    let with = problem(&project);
    fs::remove_file(project.path("cache/parsed")).unwrap();
    assert_eq!(with, problem(&project));

    let project = kept();
    project.write("pipeline.yaml", &text().replace("name: s3}", "name: new}"));
    let summary = project.run(&[]).expect_code(0).summary();
    assert_eq!((&summary["ran"], &summary["hits"]), (&1.into(), &(STAGES - 1).into()));
}

#[test]
fn a_copied_record_counts_only_while_its_own_file_is_there_and_unchanged() {
    let project = kept();
    let records = project.stored("records");
    fs::remove_file(&records[0]).unwrap();
    assert_eq!(project.run(&[]).expect_code(0).summary()["ran"], 1);
    fs::write(&records[1], "damaged").unwrap();
    assert_eq!(project.run(&[]).expect_code(0).summary()["ran"], 1);
    assert_eq!(project.run(&[]).expect_code(0).summary()["hits"], STAGES);
}

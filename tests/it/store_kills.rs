//! Commands other than `run` that change the store, killed at each call that changes the disk. No
//! record names an object that is gone, a published copy is the old or the new one in full, and the
//! repeated command ends as it should.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Ended, Project};

const CHAIN: &str = r#"
stages:
  a: {run: 'echo $PARAM_n > $OUT_x; echo a >> ran.log', params: {n: 1}, outputs: [x]}
  b:
    run: mkdir $OUT_d; cp $IN_x $OUT_d/x; cp $IN_x $OUT_d/only$(cat $IN_x); echo b >> ran.log
    inputs: {x: a:x}
    outputs: [d]
    publish: {d: out}
"#;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A project with results for three values of `n`. The last one is the pipeline's own, and is
/// published.
fn chain() -> Project {
    let project = Project::new(CHAIN);
    for value in ["2", "3", "1"] {
        project.run(&["--set", &format!("a.n={value}")]).expect_code(0);
    }
    project.take_log();
    project
}

/// Runs a command on copies of a project, killed at the first point, at the second, and so on until
/// it completes. Checks each copy, and returns the number of kills.
#[track_caller]
fn killed_everywhere(
    template: &Project,
    command: &[&str],
    check: impl Fn(&Project, &Ended),
) -> usize {
    for at in 1.. {
        let project = Project::new(CHAIN);
        for folder in ["cache", "out"] {
            copy(&template.path(folder), &project.path(folder));
        }
        let ended = project.pipe_with(command, &[("PIPE_FAULT", &at.to_string())]);
        check(&project, &ended);
        if ended.signal.is_none() {
            return at - 1;
        }
    }
    unreachable!("the command completes at some point")
}

/// All files of a store, except the log of runs and the notes about published files.
fn results(project: &Project) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = project.path("cache");
    let relative = |path: PathBuf| path.strip_prefix(&root).unwrap().to_owned();
    let counts = |path: &PathBuf| !path.starts_with("runs") && !path.starts_with("published");
    let files = project.snapshot().into_iter().map(|(path, bytes)| (relative(path), bytes));
    files.filter(|(path, _)| counts(path)).collect()
}

fn published(project: &Project) -> Vec<String> {
    let entries = fs::read_dir(project.path("out")).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn a_collection_killed_anywhere_leaves_no_record_that_names_what_is_gone() {
    let template = chain();
    let gc = ["cache", "gc", "--keep-last", "0"];
    let undisturbed = Project::new(CHAIN);
    copy(&template.path("cache"), &undisturbed.path("cache"));
    undisturbed.pipe(&gc).expect_code(0);
    let expected = results(&undisturbed);
    assert!(expected.len() < results(&template).len());
    let kills = killed_everywhere(&template, &gc, |project, _| {
        project.pipe(&["cache", "verify"]).expect_code(0);
        project.expect_run(&[], "a=hit b=hit").expect_code(0);
        project.pipe(&gc).expect_code(0);
        assert_eq!(results(project), expected);
        assert_eq!(project.entries("tmp").len(), 0);
    });
    assert!(kills > 20, "{kills}");
    println!("killed {kills} times");
}

#[test]
fn a_repair_killed_anywhere_can_be_done_again() {
    let template = chain();
    let objects = template.stored("objects");
    fs::remove_file(&objects[0]).unwrap();
    fs::write(&objects[0], "damaged").unwrap();
    let repair = ["cache", "verify", "--repair"];
    let kills = killed_everywhere(&template, &repair, |project, _| {
        project.pipe(&repair).expect_code(0);
        project.pipe(&["cache", "verify"]).expect_code(0);
        project.run(&[]).expect_code(0);
        assert_eq!(project.read("out/x"), "1\n");
    });
    assert!(kills > 4, "{kills}");
    println!("killed {kills} times");
}

#[test]
fn a_restore_killed_anywhere_leaves_the_old_or_the_new_in_full() {
    let template = chain();
    let restore = ["restore", "last~1"];
    let kills = killed_everywhere(&template, &restore, |project, _| {
        let names = published(project);
        assert!(names == ["only1", "x"] || names == ["only3", "x"], "{names:?}");
        assert_eq!(project.read("out/x"), if names[0] == "only1" { "1\n" } else { "3\n" });
        // It recognizes what it put there itself.
        project.pipe(&restore).expect_code(0);
        assert_eq!(published(project), ["only3", "x"]);
        assert_eq!(project.entries("tmp").len(), 0);
        project.run(&[]).expect_code(0);
        assert_eq!(published(project), ["only1", "x"]);
    });
    assert!(kills > 10, "{kills}");
    println!("killed {kills} times");
}

//! The short way through a run of a long pipeline in which nothing has changed. It may never hide that
//! something has.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use crate::harness::{Ended, Project};

const STAGES: usize = 80;

/// A pipeline that is long enough, in two levels: those of the second read those of the first.
fn text() -> String {
    let mut text = "stages:\n".to_owned();
    for index in 0..STAGES {
        let input = match index {
            0 => "folder".to_owned(),
            1..40 => "a.txt".to_owned(),
            _ => format!("s{}:y", index - 40),
        };
        let variables = if index == 7 { "\n    env: [TOKEN]" } else { "" };
        text.push_str(&format!(
            "  s{index}:\n    # {}\n    run: echo s{index} >> ran.log; ls $IN_x > /dev/null; echo s{index} $PARAM_n > \
             $OUT_y\n    inputs: {{x: {input}}}\n    params: {{n: 1}}\n    outputs: [y]{variables}\n",
            "-".repeat(200),
        ));
    }
    text
}

/// When a run last made a scratch folder. The short way needs none.
fn scratched(project: &Project) -> SystemTime {
    project.path("cache/tmp").metadata().unwrap().modified().unwrap()
}

fn run(project: &Project) -> Ended {
    project.pipe_with(&["run"], &[("TOKEN", "1")])
}

/// Runs until a run has taken the short way.
#[track_caller]
fn settle(project: &Project) {
    // What was written in this tick of the clock is not believed yet.
    let is_short = || {
        let before = scratched(project);
        let ended = run(project);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        scratched(project) == before
    };
    assert!(is_short() || (0..1000).any(|_| is_short()));
    project.take_log();
}

fn settled() -> Project {
    let project = Project::new(&text());
    project.write("a.txt", "1\n");
    project.write("folder/b.txt", "1\n");
    assert_eq!(run(&project).code, Some(0));
    settle(&project);
    project
}

#[test]
fn the_short_way_says_what_the_long_one_says() {
    let project = settled();
    let short = run(&project);
    assert!(
        short.stderr.starts_with("nothing to do: all 80 stages are up to date"),
        "{}",
        short.stderr
    );
    fs::remove_file(project.path("cache/settled")).unwrap();
    let before = scratched(&project);
    let long = run(&project);
    assert_ne!(scratched(&project), before);
    assert_eq!((short.code, short.stdout, short.stderr), (long.code, long.stdout, long.stderr));
    settle(&project);
    assert_eq!(project.pipe_with(&["run", "-q"], &[("TOKEN", "1")]).stderr, "");
}

/// A way to change a project, and the stages that have to run then.
type Change = (&'static str, fn(&Project), &'static str);

const CHANGES: [Change; 11] = [
    ("nothing", |_| (), ""),
    ("the time of a source", |project| project.write("a.txt", "1\n"), ""),
    ("a file in a source folder", |project| project.write("folder/b.txt", "2\n"), "s0"),
    ("a new file in it", |project| project.write("folder/c.txt", "3\n"), "s0"),
    (
        "a link to nothing in it",
        |project| {
            std::os::unix::fs::symlink("nowhere", project.path("folder/link")).unwrap();
        },
        "",
    ),
    ("a record that is gone", |project| fs::remove_file(record_of(project, "s5")).unwrap(), "s5"),
    ("a damaged record", |project| fs::write(record_of(project, "s6"), "damaged").unwrap(), "s6"),
    ("an object that is gone", |project| fs::remove_file(object_of(project, "s8")).unwrap(), "s8"),
    (
        "an object that was cut off",
        |project| {
            let object = object_of(project, "s9");
            fs::set_permissions(&object, Permissions::from_mode(0o644)).unwrap();
            fs::write(object, "").unwrap();
        },
        "s9",
    ),
    (
        "a parameter",
        |project| {
            let changed = project.read("pipeline.yaml").replacen("n: 1", "n: 2", 1);
            project.write("pipeline.yaml", &changed);
        },
        "s0 s40",
    ),
    (
        "a damaged answer",
        |project| fs::write(project.path("cache/settled"), "damaged").unwrap(),
        "",
    ),
];

/// The file in a folder of the store that has this in it.
#[track_caller]
fn file_with(project: &Project, folder: &str, part: &str) -> std::path::PathBuf {
    let files = project.stored(folder).into_iter();
    let mut found = files.filter(|file| fs::read_to_string(file).is_ok_and(|it| it.contains(part)));
    found.next().unwrap_or_else(|| panic!("nothing in {folder} with {part}"))
}

fn record_of(project: &Project, stage: &str) -> std::path::PathBuf {
    file_with(project, "records", &format!("\"stage\":\"{stage}\""))
}

fn object_of(project: &Project, stage: &str) -> std::path::PathBuf {
    file_with(project, "objects", &format!("{stage} 1\n"))
}

#[test]
fn whatever_changes_the_stages_that_read_it_run() {
    let project = settled();
    for (what, change, stages) in CHANGES {
        change(&project);
        let ended = run(&project);
        assert_eq!(ended.code, Some(0), "{what}: {}", ended.stderr);
        assert_eq!(project.take_log(), stages, "{what}");
        if what == "a link to nothing in it" {
            assert!(ended.stderr.contains("is a link to nothing"), "{}", ended.stderr);
            fs::remove_file(project.path("folder/link")).unwrap();
        }
        settle(&project);
    }
}

#[test]
fn what_is_asked_counts_too() {
    let project = settled();
    let token = |token| project.pipe_with(&["run"], &[("TOKEN", token)]);
    token("2");
    assert_eq!(project.take_log(), "s7");
    token("1");
    assert_eq!(project.take_log(), "");
    settle(&project);
    project.pipe_with(&["run", "--force=s3"], &[("TOKEN", "1")]);
    assert_eq!(project.take_log(), "s3");
    project.pipe_with(&["run", "--set", "s4.n=5"], &[("TOKEN", "1")]);
    assert_eq!(project.take_log(), "s4 s44");
    settle(&project);
    project.write("config/pipe/config.yaml", "remote: [\n");
    assert_eq!(run(&project).code, Some(2));
    // Not UTF-8: something is there that cannot be read.
    fs::write(project.path("config/pipe/config.yaml"), [0xff]).unwrap();
    let ended = run(&project);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("config.yaml"), "{}", ended.stderr);
}

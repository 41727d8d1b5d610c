//! Nothing is written outside of the project, and nothing that was never published is lost.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::Project;

/// `a` publishes a file with its parameter.
const FILE: &str = r#"
stages:
  a: {run: 'echo $PARAM_n > $OUT_o', params: {n: 1}, outputs: [o], publish: {o: out/x}}
"#;

/// `a` publishes a folder with a file of the name of its parameter.
const FOLDER: &str = r#"
stages:
  a: {run: 'mkdir $OUT_d; echo > $OUT_d/f$PARAM_n', params: {n: 1}, outputs: [d], publish: {d: out}}
"#;

/// A project that ran with `n: 2` after `n: 1`.
#[track_caller]
fn ran_twice(yaml: &str) -> Project {
    let project = Project::new(yaml);
    project.run(&[]).expect_code(0);
    project.run(&["--set", "a.n=2"]).expect_code(0);
    project
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_restore_follows_no_link_out_of_the_project() {
    let (project, elsewhere) = (ran_twice(FILE), tempfile::tempdir().unwrap());
    // What is there carries the mark of a published file.
    fs::rename(project.path("out/x"), elsewhere.path().join("x")).unwrap();
    fs::remove_dir(project.path("out")).unwrap();
    symlink(elsewhere.path(), project.path("out")).unwrap();
    for force in [&[][..], &["--force"]] {
        let ended = project.pipe(&[&["restore", "last~1"], force].concat()).expect_code(1);
        let message = "the link `out` leads out of the project";
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
        assert_eq!(fs::read_to_string(elsewhere.path().join("x")).unwrap(), "2\n");
    }
}

#[test]
fn a_stage_that_makes_a_link_of_a_folder_it_publishes_to_publishes_nowhere_else() {
    let elsewhere = tempfile::tempdir().unwrap();
    let there = elsewhere.path().display();
    let project = Project::new(&format!(
        "stages:\n  a: {{run: 'rm -rf out; ln -s {there} out; echo > $OUT_o', outputs: [o], publish: {{o: out/deep/x}}}}\n"
    ));
    fs::create_dir_all(project.path("out/deep")).unwrap();
    let ended = project.pipe(&["run"]);
    assert!(ended.stderr.contains("the link `out` leads out"), "{}", ended.stderr);
    assert_eq!(names(elsewhere.path()).len(), 0);
}

#[test]
fn a_folder_of_the_user_where_a_file_was_published_stays_with_force() {
    let project = ran_twice(FILE);
    fs::remove_file(project.path("out/x")).unwrap();
    project.write("out/x/mine", "kept\n");
    let foreign = "`out/x` holds something that was never published";
    for command in [&["run"][..], &["run", "--force"], &["restore", "last~1", "--force"]] {
        let ended = project.pipe(command);
        assert!(ended.stderr.contains(foreign), "{command:?}: {}", ended.stderr);
        assert_eq!(project.read("out/x/mine"), "kept\n", "{command:?}");
    }
}

#[test]
fn a_file_or_a_link_that_was_never_published_stays_with_force() {
    let project = Project::new(FILE);
    project.write("out/x", "mine\n");
    let foreign = "`out/x` holds something that was never published";
    for command in [&["run"][..], &["run", "--force"], &["run", "--set", "a.n=2", "--force"]] {
        let ended = project.pipe(command).expect_code(0);
        assert!(ended.stderr.contains(foreign), "{command:?}: {}", ended.stderr);
        assert_eq!(project.read("out/x"), "mine\n", "{command:?}");
    }
    // The store holds an output with these bytes, and still the file is the user's.
    fs::rename(project.path("out/x"), project.path("mine")).unwrap();
    project.write("out/x", "2\n");
    project.run(&["--force"]).expect_code(0);
    assert_eq!(project.read("out/x"), "2\n");
    fs::remove_file(project.path("out/x")).unwrap();
    symlink("../mine", project.path("out/x")).unwrap();
    project.run(&["--force"]).expect_code(0);
    assert!(project.path("out/x").is_symlink());
    // Moved away, it makes room.
    fs::remove_file(project.path("out/x")).unwrap();
    project.run(&[]).expect_code(0);
    assert_eq!((project.read("out/x"), project.read("mine")), ("1\n".into(), "mine\n".into()));
}

#[test]
fn a_copy_that_the_user_keeps_of_a_published_file_is_not_ours() {
    let project = ran_twice(FILE);
    // A copy with its attributes.
    fs::create_dir(project.path("mine")).unwrap();
    fs::rename(project.path("out/x"), project.path("mine/best")).unwrap();
    project.write("pipeline.yaml", &FILE.replace("out/x", "mine/best"));
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("mine/best"), "2\n");
}

#[test]
fn files_of_the_user_in_a_published_folder_are_kept_beside_when_force_replaces_it() {
    let project = ran_twice(FOLDER);
    project.write("out/mine", "kept\n");
    let ended = project.pipe(&["run", "--force"]).expect_code(0);
    assert!(ended.stderr.contains("with your own files, is now `out.kept`"), "{}", ended.stderr);
    assert_eq!(names(&project.path("out")), ["f1"]);
    assert_eq!(names(&project.path("out.kept")), ["f2", "mine"]);
    project.write("out/mine", "kept too\n");
    let ended = project.pipe(&["restore", "last~1", "--force"]).expect_code(0);
    assert!(ended.stderr.contains("is now `out.kept-2`"), "{}", ended.stderr);
    assert_eq!(names(&project.path("out")), ["f2"]);
    assert_eq!(project.read("out.kept-2/mine"), "kept too\n");
    // A file that was published and edited is what `--force` overwrites.
    project.write("out/f2", "edited\n");
    project.run(&["--force"]).expect_code(0);
    assert_eq!(names(&project.path("out")), ["f1"]);
    assert!(!project.path("out.kept-3").exists());
}

#[test]
fn killed_anywhere_a_restore_loses_no_file_of_the_user() {
    let project = ran_twice(FOLDER);
    let is_there = |folder: &str| project.path(folder).join("mine").exists();
    for at in 1.. {
        for folder in ["out", "out.kept"] {
            let _ = fs::remove_dir_all(project.path(folder));
        }
        project.run(&[]).expect_code(0);
        project.write("out/mine", "kept\n");
        let restore = ["restore", "last~1", "--force"];
        let ended = project.pipe_with(&restore, &[("PIPE_FAULT", &at.to_string())]);
        // The next command removes what the killed one has left over.
        project.pipe(&["restore", "last~1"]);
        assert!(is_there("out") || is_there("out.kept"), "killed at point {at}");
        if ended.signal.is_none() {
            assert!(at > 10, "{at}");
            break;
        }
    }
}

/// A pipeline in which `b` reads `input`, and `a` publishes to `publish`.
fn reading(input: &str, publish: &str) -> String {
    format!(
        "stages:\n  a: {{run: 'echo > $OUT_o', outputs: [o], publish: {{o: {publish}}}}}\n  b: {{run: 'true', inputs: {{x: {input}}}}}\n"
    )
}

#[test]
fn reading_what_is_published_is_noticed_by_every_path_to_it() {
    let links = |project: &Project| {
        project.write("src/one", "1");
        project.write("src/gen", "made");
        project.write("other/two", "2");
        symlink("src", project.path("link")).unwrap();
        symlink("../other", project.path("src/in")).unwrap();
        symlink("src/gen", project.path("file")).unwrap();
    };
    let refused = [
        ("./src/../src", "src/gen"),
        ("other/../src/gen", "src/gen"),
        ("link", "src/gen"),
        ("src", "link/gen"),
        ("link/gen", "src/gen"),
        ("file", "src/gen"),
        ("[other/two, ./src/../src]", "src/gen"),
        // By the link in `src`.
        ("src", "other/gen"),
        ("link", "other/new/gen"),
        ("src", "other"),
    ];
    for (input, publish) in refused {
        let project = Project::new(&reading(input, publish));
        links(&project);
        let ended = project.pipe(&["status"]).expect_code(2);
        let told = ended.stderr;
        assert!(told.contains("input `x") && told.contains("publish"), "{input} {publish}: {told}");
    }
    for (input, publish) in [("other", "src/gen"), ("src/one", "src/gen"), ("link/one", "out")] {
        let project = Project::new(&reading(input, publish));
        links(&project);
        project.run(&[]).expect_code(0);
    }
}

#[test]
fn two_paths_to_one_place_are_one_target() {
    let yaml = |one: &str, other: &str| {
        format!(
            "stages:\n  a: {{run: 'echo > $OUT_o', outputs: [o], publish: {{o: {one}}}}}\n  b: {{run: 'echo > $OUT_o', outputs: [o], publish: {{o: {other}}}}}\n"
        )
    };
    for (one, other) in [("real/x", "link/x"), ("link", "real/x"), ("real/x/y", "link/x")] {
        let project = Project::new(&yaml(one, other));
        fs::create_dir(project.path("real")).unwrap();
        symlink("real", project.path("link")).unwrap();
        let ended = project.pipe(&["status"]);
        if one == "link" {
            // The link itself is the target, and was never published.
            ended.expect_code(0);
            continue;
        }
        assert!(ended.stderr.contains("already claimed"), "{one} {other}: {}", ended.stderr);
    }
}

#[test]
fn what_a_link_hides_is_not_published_over() {
    let cases = [(".", "link/pipeline.yaml"), ("cache", "link/objects"), (".git", "link/config")];
    for (target, publish) in cases {
        let project = Project::new(&FILE.replace("out/x", publish));
        for folder in ["cache", ".git"] {
            fs::create_dir(project.path(folder)).unwrap();
        }
        symlink(target, project.path("link")).unwrap();
        project.pipe(&["run", "--force"]).expect_code(2);
        assert_eq!(project.entries("").len(), 0, "{publish}");
    }
}

#[test]
fn a_report_overwrites_only_what_a_report_wrote() {
    let project = ran_twice(FILE);
    let report = |arguments: &[&str]| project.pipe(&[&["report"], arguments].concat());
    project.write("report.html", "my own report\n");
    let ended = report(&[]).expect_code(2);
    assert!(ended.stderr.contains("was not written by `pipe report`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("`--force` overwrites it"), "{}", ended.stderr);
    assert_eq!(project.read("report.html"), "my own report\n");
    report(&["--force"]).expect_code(0);
    report(&["last~1"]).expect_code(0);
    let page = project.read("report.html");
    project.write("report.html", &page.replace("</p>", " and my notes</p>"));
    report(&["--out", "report.html"]).expect_code(2);
    assert!(project.read("report.html").contains("and my notes"));
    // A link to nothing would be replaced by a file.
    symlink("nothing", project.path("link.html")).unwrap();
    report(&["--out", "link.html", "--force"]).expect_code(1);
    assert!(project.path("link.html").is_symlink());
}

#[test]
fn manual_pages_overwrite_only_manual_pages() {
    let project = Project::new(FILE);
    project.write("pages/pipe-run.1", "mine\n");
    let ended = project.pipe(&["man", "--out", "pages"]).expect_code(2);
    assert!(ended.stderr.contains("was not written by `pipe man`"), "{}", ended.stderr);
    assert_eq!(project.read("pages/pipe-run.1"), "mine\n");
    for arguments in [&["--force"][..], &[]] {
        project.pipe(&[&["man", "--out", "pages"], arguments].concat()).expect_code(0);
    }
}

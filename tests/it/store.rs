//! The store: missing and damaged objects, records, the index, publishing.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use pipe::files::file_error::FileError;
use pipe::sources::SourceError;

use crate::harness::Project;

/// `b` reads the output of `a` and has a parameter of its own.
const PAIR: &str = r#"
stages:
  a:
    run: echo a >> ran.log; cat "$IN_text" > "$OUT_copy"
    inputs: {text: text.txt}
    outputs: [copy]
  b:
    run: echo b >> ran.log; cat "$IN_copy" > "$OUT_result"; echo "$PARAM_n" >> "$OUT_result"
    inputs: {copy: a:copy}
    params: {n: 1}
    outputs: [result]
    publish: {result: out/result.txt}
"#;

fn pair() -> Project {
    let project = Project::new(PAIR);
    project.write("text.txt", "some text\n");
    project.run(&[]).expect_code(0);
    project.take_log();
    project
}

/// Overwrites a read-only object.
fn overwrite(path: &Path, text: &str) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    fs::write(path, text).unwrap();
}

fn object_with(project: &Project, text: &str) -> std::path::PathBuf {
    let objects = project.stored("objects").into_iter();
    let mut found = objects.filter(|path| fs::read(path).unwrap() == text.as_bytes());
    found.next().unwrap()
}

#[test]
fn objects_are_read_only_and_equal_files_are_stored_once() {
    let project = Project::new(
        "stages:\n  a: {run: 'mkdir $OUT_d; echo 1 > $OUT_d/x; echo 1 > $OUT_d/y; echo 1 > $OUT_f', outputs: [d, f]}\n",
    );
    project.run(&[]).expect_code(0);
    let objects = project.stored("objects");
    assert_eq!(objects.len(), 2, "one file, one listing: {objects:?}");
    for object in objects {
        assert_eq!(fs::metadata(object).unwrap().mode() & 0o777, 0o444);
    }
}

#[test]
fn a_missing_object_makes_its_stage_run_again_and_says_so() {
    let project = pair();
    fs::remove_file(object_with(&project, "some text\n")).unwrap();
    let run = project.expect_run(&[], "a=ran b=hit").expect_code(0);
    assert_eq!(run.about("stage_started", "a")["reason"]["reason"], "object_missing");
    assert_eq!(project.take_log(), "a");
}

#[test]
fn a_truncated_object_counts_as_missing() {
    let project = pair();
    overwrite(&object_with(&project, "some text\n"), "some");
    project.expect_run(&[], "a=ran b=hit").expect_code(0);
    project.expect_run(&[], "a=hit b=hit").expect_code(0);
}

#[test]
fn a_damaged_input_is_never_read_by_a_stage() {
    let project = pair();
    overwrite(&object_with(&project, "some text\n"), "same size\n");
    let run = project.run(&["--set", "b.n=2"]).expect_code(0);
    assert_eq!(run.about("stage_started", "a")["reason"]["reason"], "object_damaged");
    assert_eq!(project.read("out/result.txt"), "some text\n2\n");
    assert_eq!(project.entries("quarantine").len(), 1);
    let summary = run.summary();
    assert_eq!((&summary["ran"], &summary["hits"]), (&2.into(), &0.into()));
}

#[test]
fn a_damaged_object_is_never_published() {
    let project = pair();
    overwrite(&object_with(&project, "some text\n1\n"), "some evil\n1\n");
    fs::remove_file(project.path("out/result.txt")).unwrap();
    let run = project.expect_run(&[], "a=hit b=ran").expect_code(0);
    assert_eq!(run.about("stage_started", "b")["reason"]["reason"], "object_damaged");
    assert_eq!(project.read("out/result.txt"), "some text\n1\n");
}

#[test]
fn a_damaged_listing_of_a_folder_makes_its_stage_run_again() {
    let project =
        Project::new("stages:\n  a: {run: 'mkdir $OUT_d; echo 1 > $OUT_d/x', outputs: [d]}\n");
    project.run(&[]).expect_code(0);
    let tree =
        project.stored("objects").into_iter().find(|path| path.extension().is_some()).unwrap();
    let text = fs::read_to_string(&tree).unwrap();
    overwrite(&tree, &text.replace(" x", " ../../x"));
    let run = project.expect_run(&[], "a=ran").expect_code(0);
    assert_eq!(run.about("stage_started", "a")["reason"]["reason"], "object_missing");
}

#[test]
fn a_damaged_record_counts_as_absent() {
    for damage in [
        |text: &str| text.replace("\"seconds\":", "\"seconds\":1"),
        |text: &str| text[..text.len() / 2].to_owned(),
        |_: &str| String::new(),
        |text: &str| text.replace("file:", "folder:"),
    ] {
        let project = pair();
        for record in project.stored("records") {
            let text = fs::read_to_string(&record).unwrap();
            fs::write(record, damage(&text)).unwrap();
        }
        project.expect_run(&[], "a=ran b=ran").expect_code(0);
        project.expect_run(&[], "a=hit b=hit").expect_code(0);
    }
}

#[test]
fn a_damaged_index_is_forgotten() {
    let project = pair();
    let read_none = || project.run(&[]).expect_code(0).summary()["files_read"] == 0;
    // The index does not keep a file that was hashed in the tick in which it was written.
    assert!((0..1000).any(|_| read_none()));
    let index = project.path("cache/index");
    let mut bytes = fs::read(&index).unwrap();
    bytes[20] ^= 1;
    fs::write(&index, bytes).unwrap();
    // These are the source and the published file.
    assert_eq!(project.run(&[]).expect_code(0).summary()["files_read"], 2);
    assert!(read_none());
    let distrustful = project.run(&["--no-index"]).expect_code(0);
    assert_eq!(distrustful.summary()["files_read"], 2);
    assert_eq!(distrustful.summary()["hits"], 2);
}

#[test]
fn a_changed_source_of_the_same_size_and_modification_time_is_seen() {
    let project = pair();
    let file = project.path("text.txt");
    let modified = fs::metadata(&file).unwrap().modified().unwrap();
    project.write("text.txt", "same size\n");
    File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    project.expect_run(&[], "a=ran b=ran").expect_code(0);
}

#[test]
fn a_published_file_is_put_back_when_it_is_gone_or_old() {
    let project = pair();
    assert_eq!(project.read("out/result.txt"), "some text\n1\n");
    fs::remove_dir_all(project.path("out")).unwrap();
    project.expect_run(&[], "a=hit b=hit").expect_code(0);
    assert_eq!(project.read("out/result.txt"), "some text\n1\n");
    assert_eq!(project.take_log(), "");
}

#[test]
fn a_published_file_is_no_link_into_the_store() {
    let project = pair();
    let published = project.path("out/result.txt");
    assert_eq!(fs::symlink_metadata(&published).unwrap().nlink(), 1);
    fs::write(&published, "edited\n").unwrap();
    assert_eq!(project.pipe(&["cache", "cat", "b:result"]).stdout, "some text\n1\n");
}

#[test]
fn a_published_file_that_was_edited_is_left_alone_without_force() {
    let project = pair();
    project.write("out/result.txt", "my own words\n");
    let run = project.pipe(&["run"]).expect_code(0);
    assert!(run.stderr.contains("`out/result.txt` was edited"), "{}", run.stderr);
    assert_eq!(project.read("out/result.txt"), "my own words\n");
    project.run(&["--force", "b"]).expect_code(0);
    assert_eq!(project.read("out/result.txt"), "some text\n1\n");
}

#[test]
fn a_published_file_is_known_again_after_the_store_was_removed() {
    let project = pair();
    let marks = rustix::fs::listxattr(project.path("out/result.txt"), &mut [0u8; 256]);
    if !marks.is_ok_and(|length| length > 0) {
        println!("skipped: this file system has no extended attributes");
        return;
    }
    fs::remove_dir_all(project.path("cache")).unwrap();
    project.write("text.txt", "another text\n");
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("out/result.txt"), "another text\n1\n");
}

#[test]
fn a_file_that_was_there_before_the_first_run_is_left_alone() {
    let project = Project::new(PAIR);
    project.write("text.txt", "some text\n");
    project.write("out/result.txt", "was here first\n");
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("out/result.txt"), "was here first\n");
}

#[test]
fn a_published_folder_is_replaced_as_a_whole() {
    let yaml = |files: &str| {
        format!(
            "stages:\n  a: {{run: 'mkdir $OUT_d; for f in {files}; do echo $f > $OUT_d/$f; done', outputs: [d], publish: {{d: out}}}}\n"
        )
    };
    let project = Project::new(&yaml("one two"));
    project.run(&[]).expect_code(0);
    project.write("pipeline.yaml", &yaml("two three"));
    project.run(&[]).expect_code(0);
    let mut names: Vec<_> = fs::read_dir(project.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["three", "two"]);
    project.write("out/mine", "kept\n");
    project.write("pipeline.yaml", &yaml("four"));
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("out/mine"), "kept\n");
}

#[test]
fn a_published_folder_and_a_file_take_each_others_place() {
    let yaml =
        |run: &str| format!("stages:\n  a: {{run: '{run}', outputs: [x], publish: {{x: out}}}}\n");
    let project = Project::new(&yaml("mkdir $OUT_x; echo 1 > $OUT_x/one"));
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("out/one"), "1\n");
    project.write("pipeline.yaml", &yaml("echo 2 > $OUT_x"));
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("out"), "2\n");
    project.write("pipeline.yaml", &yaml("mkdir $OUT_x; echo 3 > $OUT_x/three"));
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("out/three"), "3\n");
    assert!(!project.path("out/one").exists());
    assert_eq!(project.entries("tmp").len(), 0);
}

#[test]
fn a_store_on_another_disk_publishes_as_well_and_leaves_nothing_beside() {
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        return println!("skipped: there is no /dev/shm");
    };
    let project = Project::new(
        "stages:\n  a: {run: 'mkdir $OUT_d; echo $PARAM_n > $OUT_d/$PARAM_n', params: {n: 1}, outputs: [d], publish: {d: out}}\n",
    );
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(elsewhere.path()) == device(&project.path("")) {
        return println!("skipped: /dev/shm is no other disk");
    }
    let cache = elsewhere.path().join("store");
    let cache = cache.to_str().unwrap();
    // A process that was killed while publishing left this. No process has this number.
    project.write(".out.pipe-2147483647/one", "half");
    project.run(&["--cache", cache]).expect_code(0);
    assert_eq!(project.read("out/1"), "1\n");
    project.run(&["--cache", cache, "--set", "a.n=2"]).expect_code(0);
    assert_eq!(project.read("out/2"), "2\n");
    assert!(!project.path("out/1").exists());
    let beside = fs::read_dir(project.path("")).unwrap();
    let names: Vec<_> = beside.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.display().to_string().contains(".pipe-")), "{names:?}");
}

#[test]
fn a_store_that_cannot_be_written_is_a_clean_error() {
    let project = Project::new(PAIR);
    project.write("text.txt", "some text\n");
    project.write("occupied", "a file\n");
    let run = project.pipe(&["run", "--cache", "occupied"]).expect_code(1);
    assert!(run.stderr.contains("making the store"), "{}", run.stderr);
    assert!(run.stderr.contains("occupied"), "{}", run.stderr);
    assert_eq!(project.take_log(), "");
}

#[test]
fn only_errors_of_the_store_propose_another_store() {
    let without_store = Project::new(PAIR);
    without_store.write("text.txt", "some text\n");
    for project in [without_store, pair()] {
        // Refused at the first call that changes the disk, which is one in the store.
        let fault = [("PIPE_FAULT", "1:EACCES")];
        let refused = project.pipe_with(&["run", "--force"], &fault).expect_code(1);
        let hint = "hint: check the permissions, or put the store elsewhere with `--cache DIR`";
        assert!(refused.stderr.contains(hint), "{}", refused.stderr);
    }
    // Permissions do not keep root out, so the error of a source is made here.
    let denied = std::io::ErrorKind::PermissionDenied;
    let unreadable = FileError::at("reading", Path::new("text.txt"))(denied.into());
    let hint = SourceError::from(unreadable).hint();
    assert_eq!(hint.as_deref(), Some("check the permissions"));
}

#[test]
fn a_record_that_json_cannot_express_is_an_error_and_not_an_empty_file() {
    let by_pair = BTreeMap::from([((1, 2), "its keys are not strings")]);
    let error = pipe::store::record::with_check(&by_pair).unwrap_err();
    assert!(error.to_string().contains("key must be a string"), "{error}");
}

#[test]
fn the_store_can_lie_elsewhere() {
    let project = Project::new(PAIR);
    project.write("text.txt", "some text\n");
    project.run(&["--cache", "elsewhere/store"]).expect_code(0);
    assert!(!project.path("cache").exists());
    let status = project.pipe_with(&["status"], &[("PIPE_CACHE", "elsewhere/store")]);
    assert!(status.stdout.contains("all 2 stages are up to date"), "{}", status.stdout);
}

#[test]
fn a_name_that_ends_in_a_carriage_return_comes_back_as_it_was() {
    let project = Project::new(
        r#"
stages:
  a: {run: 'mkdir $OUT_d; echo 1 > "$OUT_d/$(printf "x\ry\r")"', outputs: [d]}
  b: {run: 'ls $IN_d | od -c > $OUT_names', inputs: {d: 'a:d'}, outputs: [names], publish: {names: names.txt}}
"#,
    );
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("names.txt").lines().next(), Some("0000000   x  \\r   y  \\r  \\n"));
}

#[test]
fn an_object_that_is_there_stays_when_a_stage_makes_it_again() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo 1 > $OUT_x', outputs: [x]}\n  b: {run: 'true; echo 1 > $OUT_x', outputs: [x]}\n",
    );
    project.run(&["a"]).expect_code(0);
    let object = project.stored("objects").remove(0);
    let inode = || fs::metadata(&object).unwrap().ino();
    let before = inode();
    project.run(&["b"]).expect_code(0);
    assert_eq!(inode(), before, "a stage that reads it must not see it replaced");
    // A damaged object is replaced.
    overwrite(&object, "2\n");
    project.run(&["b", "--force"]).expect_code(0);
    assert_eq!(fs::read_to_string(&object).unwrap(), "1\n");
}

#[test]
fn a_stage_that_writes_to_its_input_has_no_result_and_the_input_is_made_again() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo one > $OUT_o', outputs: [o]}\n  b: {run: 'chmod u+w $(readlink $IN_x); echo two >> $IN_x; cp $IN_x $OUT_o', inputs: {x: a:o}, outputs: [o]}\n",
    );
    let ended = project.run(&[]).expect_code(1);
    let finished = ended.about("stage_finished", "b");
    let message = "it wrote to its input `x`, so its result was discarded";
    assert_eq!(finished["message"], message);
    project
        .write("pipeline.yaml", &project.read("pipeline.yaml").replace("echo two >> $IN_x;", ""));
    project.run(&[]).expect_code(0);
    assert_eq!(project.pipe(&["cache", "cat", "b:o"]).expect_code(0).stdout, "one\n");
}

#[test]
fn damaged_bytes_are_not_shown_as_the_result() {
    let project = Project::new("stages:\n  a: {run: 'echo one > $OUT_o', outputs: [o]}\n");
    project.run(&[]).expect_code(0);
    let object = project.stored("objects").remove(0);
    fs::remove_file(&object).unwrap();
    fs::write(&object, "two\n").unwrap();
    for command in [&["cache", "cat", "a:o"][..], &["show", "a:o"], &["verify", "a"]] {
        let ended = project.pipe(command).expect_code(1);
        assert!(ended.stderr.contains("it is damaged"), "{command:?}: {}", ended.stderr);
        assert!(!ended.stdout.contains("two"), "{command:?}: {}", ended.stdout);
    }
}

#[test]
fn the_store_is_neither_published_over_nor_read_as_a_whole() {
    for (publish, inputs) in
        [("cache/objects", "{}"), ("cache", "{}"), ("o", "{x: .}"), ("o", "{x: cache}")]
    {
        let project = Project::new(&format!(
            "stages:\n  a: {{run: 'echo > $OUT_o', inputs: {inputs}, outputs: [o], publish: {{o: {publish}}}}}\n",
        ));
        fs::create_dir_all(project.path("cache")).unwrap();
        let ended = project.pipe(&["run", "--force"]).expect_code(2);
        assert!(ended.stderr.contains("stage `a`"), "{publish} {inputs}: {}", ended.stderr);
        assert_eq!(project.entries("").len(), 0, "{publish} {inputs}");
    }
}

#[test]
fn a_folder_into_which_something_is_published_is_no_input() {
    let project = Project::new(
        "stages:\n  a: {run: 'echo > $OUT_o', outputs: [o], publish: {o: src/gen/o}}\n  b: {run: 'true', inputs: {x: src}}\n",
    );
    project.write("src/one", "1");
    let ended = project.pipe(&["status"]).expect_code(2);
    let message = "input `x` of stage `b` is a folder into which `a:o` is published";
    assert!(ended.stderr.contains(message), "{}", ended.stderr);
}

#[test]
fn force_does_not_replace_a_folder_that_was_never_published() {
    let project =
        Project::new("stages:\n  a: {run: 'echo one > $OUT_o', outputs: [o], publish: {o: src}}\n");
    project.write("src/mine", "kept");
    for arguments in [&["run"][..], &["run", "--force"]] {
        let ended = project.pipe(arguments).expect_code(0);
        assert!(
            ended.stderr.contains("`src` holds something that was never published"),
            "{}",
            ended.stderr
        );
        assert_eq!(project.read("src/mine"), "kept");
    }
}

#[test]
fn a_folder_called_as_the_pipeline_is_not_passed_over() {
    let project = Project::new("stages:\n  a: {run: 'true'}\n");
    fs::create_dir_all(project.path("deep/pipeline.yaml")).unwrap();
    let ended = project.pipe(&["-C", "deep", "status"]).expect_code(2);
    assert!(ended.stderr.contains("deep/pipeline.yaml"), "{}", ended.stderr);
}

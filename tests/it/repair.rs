//! Damage that several stages meet at once, and makers whose bytes differ each time.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::harness::Project;

/// Overwrites the object of an output with other bytes of the same size.
fn damage(project: &Project, text: &str) {
    let is_it = |path: &PathBuf| fs::read(path).unwrap() == text.as_bytes();
    let object = project.stored("objects").into_iter().find(is_it).unwrap();
    fs::set_permissions(&object, Permissions::from_mode(0o644)).unwrap();
    fs::write(object, "#".repeat(text.len())).unwrap();
}

#[test]
fn many_readers_of_one_damaged_object_wait_for_the_same_repair() {
    let mut pipeline = "stages:\n  make: {run: echo made > $OUT_x, outputs: [x]}\n".to_owned();
    for reader in 0..6 {
        pipeline += &format!(
            "  r{reader}: {{run: 'echo r{reader} > $OUT_y; cat $IN_x >> $OUT_y', inputs: {{x: make:x}}, outputs: [y], publish: {{y: y{reader}}}}}\n"
        );
    }
    let project = Project::new(&pipeline);
    project.run(&["make"]).expect_code(0);
    damage(&project, "made\n");
    let readers = "r0=ran r1=ran r2=ran r3=ran r4=ran r5=ran";
    let run = project.expect_run(&["--jobs", "6"], &format!("make=hit make=ran {readers}"));
    let summary = run.expect_code(0).summary();
    assert_eq!((&summary["ran"], &summary["hits"]), (&7.into(), &0.into()));
    assert_eq!(project.read("y5"), "r5\nmade\n");
}

#[test]
fn after_a_repair_with_other_bytes_every_reader_has_read_the_same() {
    let reader = |name: &str, input: &str| {
        format!(
            "  {name}: {{run: 'cat $IN_x > $OUT_x # {name}', inputs: {{x: '{input}'}}, outputs: [x], publish: {{x: {name}}}}}\n"
        )
    };
    let maker = "stages:\n  make: {run: cat /proc/sys/kernel/random/uuid > $OUT_x, outputs: [x], publish: {x: make}}\n";
    let first = [maker, &reader("early", "make:x"), &reader("after", "early:x")].concat();
    let project = Project::new(&first);
    project.run(&[]).expect_code(0);
    let before = project.read("make");
    damage(&project, &before);
    // `early` and `after` are hits for the old bytes, before `late` finds that these are gone.
    project.write("pipeline.yaml", &[&first, &reader("late", "make:x")[..]].concat());
    let run = project.run(&["--jobs", "2"]).expect_code(0);
    let made = project.read("make");
    assert_ne!(made, before, "{}", run.stdout);
    for reader in ["early", "after", "late"] {
        assert_eq!(project.read(reader), made, "{reader}: {}", run.stdout);
    }
    let summary = run.summary();
    assert_eq!((&summary["ran"], &summary["hits"]), (&4.into(), &0.into()), "{}", run.stdout);
    project.expect_run(&[], "after=hit early=hit late=hit make=hit").expect_code(0);
}

/// Something that the store never writes.
#[derive(Clone, Copy, Debug)]
enum InTheWay {
    /// Read-only, with a file in it.
    Folder,
    Fifo,
    BrokenLink,
}

fn put(what: InTheWay, path: &Path) {
    let _ = fs::remove_dir_all(path).or_else(|_| fs::remove_file(path));
    match what {
        InTheWay::Folder => {
            fs::create_dir(path).unwrap();
            fs::write(path.join("inside"), "x").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o555)).unwrap();
        }
        InTheWay::Fifo => {
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
        }
        InTheWay::BrokenLink => symlink("nowhere", path).unwrap(),
    }
}

/// A finished project, with a file and a folder in its store.
fn finished() -> Project {
    let project = Project::new(
        "stages:\n  make: {run: 'echo made > $OUT_x; mkdir $OUT_d; echo in > $OUT_d/f', outputs: [x, d]}\n  \
         read: {run: 'cat $IN_x $IN_d/f > $OUT_y', inputs: {x: make:x, d: make:d}, outputs: [y], publish: {y: y}}\n",
    );
    project.run(&[]).expect_code(0);
    project
}

#[track_caller]
fn runs_right(project: &Project) {
    fs::remove_file(project.path("y")).unwrap();
    project.run(&[]).expect_code(0);
    assert_eq!(project.read("y"), "made\nin\n");
    project.pipe(&["cache", "verify"]).expect_code(0);
}

#[test]
fn whatever_stands_in_the_place_of_a_file_or_folder_of_the_store_is_moved_away() {
    for what in [InTheWay::Folder, InTheWay::Fifo, InTheWay::BrokenLink] {
        for folder in ["objects", "records", "runs"] {
            let project = finished();
            for file in project.stored(folder) {
                put(what, &file);
            }
            let place = format!("{what:?} in {folder}");
            let found = project.pipe(&["cache", "verify"]).expect_code(1);
            assert!(found.stdout.contains("a file belongs here"), "{place}: {}", found.stdout);
            for command in [&["status"][..], &["log"], &["cache", "gc"], &["cache", "ls"]] {
                let ended = project.pipe(command);
                assert!(ended.code.is_some(), "{place}: {command:?}: {}", ended.stderr);
            }
            project.pipe(&["cache", "verify", "--repair"]).expect_code(0);
            project.pipe(&["cache", "verify"]).expect_code(0);
            assert!(!project.entries("quarantine").is_empty(), "{place}");
            runs_right(&project);
        }
    }
}

#[test]
fn a_file_in_the_place_of_a_folder_of_the_store_is_moved_away() {
    let below = |project: &Project, folder: &str| project.entries(folder).first().unwrap().clone();
    for folder in ["objects", "objects/", "records", "records/", "runs", "tmp", "locks", "logs"] {
        let project = finished();
        let path = match folder.strip_suffix('/') {
            Some(folder) => below(&project, folder),
            None => project.path("cache").join(folder),
        };
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, "x").unwrap();
        let found = project.pipe(&["cache", "verify"]).expect_code(1);
        assert!(found.stdout.contains("a folder belongs here"), "{folder}: {}", found.stdout);
        project.pipe(&["cache", "verify", "--repair"]).expect_code(0);
        runs_right(&project);
    }
    // The quarantine itself.
    let project = finished();
    project.write("cache/quarantine", "x");
    project.pipe(&["cache", "verify", "--repair"]).expect_code(0);
    assert_eq!(project.entries("quarantine").len(), 1);
}

#[test]
fn a_run_moves_away_what_stands_in_the_place_of_its_results() {
    for what in [InTheWay::Folder, InTheWay::Fifo, InTheWay::BrokenLink] {
        let project = finished();
        for file in [project.stored("objects"), project.stored("records")].concat() {
            put(what, &file);
        }
        fs::remove_file(project.path("y")).unwrap();
        project.expect_run(&[], "make=ran read=ran").expect_code(0);
        assert_eq!(project.read("y"), "made\nin\n", "{what:?}");
        project.expect_run(&[], "make=hit read=hit").expect_code(0);
    }
    let project = finished();
    for folder in [project.entries("objects"), project.entries("records")].concat() {
        fs::remove_dir_all(&folder).unwrap();
        fs::write(&folder, "x").unwrap();
    }
    project.expect_run(&[], "make=ran read=ran").expect_code(0);
}

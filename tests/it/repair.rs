//! Damage that several stages meet at once, and makers whose bytes differ each time.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use crate::harness::Project;

/// Overwrites the object of an output with other bytes of the same size.
fn damage(project: &Project, text: &str) {
    let is_it = |path: &std::path::PathBuf| fs::read(path).unwrap() == text.as_bytes();
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

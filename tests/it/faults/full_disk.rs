//! A disk that is really full: a small file system in memory.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::Project;

/// A file system that stays mounted until it is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// Mounts one mebibyte; `None` if this process may not mount.
    fn mount() -> Option<SmallDisk> {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path());
        let mounted = command.output().is_ok_and(|output| output.status.success());
        mounted.then_some(SmallDisk(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_in_words_and_the_same_run_succeeds_after_space_returns() {
    let Some(disk) = SmallDisk::mount() else {
        return println!("skipped: this process may not mount a small file system");
    };
    let project = Project::new(
        r#"
stages:
  small: {run: 'echo small >> ran.log; echo 1 > $OUT_x', outputs: [x]}
  large:
    run: echo large >> ran.log; head -c 300000 /dev/zero > $OUT_x; cat $IN_x >> $OUT_x
    inputs: {x: small:x}
    outputs: [x]
  copied:
    run: echo copied >> ran.log; ln -s $IN_x $OUT_x
    inputs: {x: large:x}
    outputs: [x]
  last:
    run: echo last >> ran.log; wc -c < $IN_x > $OUT_n
    inputs: {x: copied:x}
    outputs: [n]
    publish: {n: n.txt}
"#,
    );
    let cache = disk.path().join("cache");
    let run = || project.run(&["--cache", cache.to_str().unwrap()]);
    let fill = |kilobytes: usize| {
        std::fs::write(disk.path().join("filler"), vec![1; kilobytes << 10]).unwrap();
    };

    // The stage itself runs out of space.
    fill(800);
    let ended = run().expect_code(1);
    assert_eq!(ended.outcomes(), "copied=skipped large=failed last=skipped small=ran");
    // The disk is so full that the stage's log is empty.
    let said = ended.about("stage_says", "large")["said"]["message"].to_string();
    assert!(said.contains("no space is left"), "{said}");
    assert_eq!(project.take_log(), "large small");

    // The engine runs out of space when it copies an output that is a link.
    fill(500);
    let ended = run().expect_code(1);
    assert_eq!(ended.outcomes(), "copied=failed large=ran last=skipped small=hit");
    let failed = ended.about("stage_finished", "copied");
    assert!(failed["message"].as_str().unwrap().contains("No space left"), "{failed}");
    assert!(failed["hint"].as_str().unwrap().starts_with("free some space"), "{failed}");
    assert_eq!(project.take_log(), "copied large");

    // Not a single page is free.
    let rest = std::fs::File::create(disk.path().join("rest")).unwrap();
    while std::io::Write::write_all(&mut &rest, &[1; 4096]).is_ok() {}
    let ended = run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let told = ended.stdout.contains("No space left") || ended.stderr.contains("No space left");
    assert!(told && !ended.stderr.contains("panicked"), "{ended:?}");
    project.take_log();

    std::fs::remove_file(disk.path().join("rest")).unwrap();
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    let ended = run().expect_code(0);
    assert_eq!(ended.outcomes(), "copied=ran large=hit last=ran small=hit");
    assert_eq!(project.take_log(), "copied last");
    assert_eq!(project.read("n.txt"), "300002\n");
}

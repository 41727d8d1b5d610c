//! `pipe watch` reruns when the pipeline's file or a source changes.

use rustix::process::Signal;

use crate::harness::{Project, Running};

const PIPELINE: &str = "
stages:
  copy: {run: 'cat $IN_a $IN_b/* > $OUT_x', inputs: {a: a.txt, b: folder}, outputs: [x], publish: {x: x.txt}}
";

#[test]
fn it_reruns_when_a_source_or_the_file_changes_and_ends_with_ctrl_c() {
    let project = Project::new(PIPELINE);
    project.write("a.txt", "1");
    project.write("folder/b.txt", "2");
    let mut watch = project.start_any(&["watch", "--json"]);
    let mut ran = || assert!(watch.read_until("run_finished"));
    ran();
    assert_eq!(project.read("x.txt"), "12");
    project.write("a.txt", "3");
    ran();
    assert_eq!(project.read("x.txt"), "32");
    project.write("folder/c.txt", "4");
    ran();
    assert_eq!(project.read("x.txt"), "324");
    std::fs::remove_file(project.path("folder/b.txt")).unwrap();
    ran();
    assert_eq!(project.read("x.txt"), "34");
    // An invalid pipeline is reported and does not end the watch.
    project.write("pipeline.yaml", "stages: [");
    assert!(watch.read_until("error"));
    project.write("pipeline.yaml", &PIPELINE.replace("cat", "echo new; cat"));
    assert!(watch.read_until("run_finished"));
    watch.signal(Signal::INT);
    let ended = watch.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
}

#[test]
fn a_rerun_leaves_no_thread_behind() {
    let project = Project::new(PIPELINE);
    project.write("a.txt", "0");
    project.write("folder/b.txt", "2");
    let mut watch = project.start_any(&["watch", "--json"]);
    assert!(watch.read_until("run_finished"));
    let before = threads_between_runs(&watch);
    for run in 1..=4 {
        project.write("a.txt", &run.to_string());
        assert!(watch.read_until("run_finished"));
    }
    assert_eq!(threads_between_runs(&watch), before);
    watch.signal(Signal::INT);
    assert_eq!(watch.end().code, Some(130));
}

/// The smallest number of threads within two seconds: a run may still be ending.
fn threads_between_runs(watch: &Running) -> usize {
    let tasks = format!("/proc/{}/task", watch.id());
    let count = || std::fs::read_dir(&tasks).unwrap().count();
    let looks = (0..40).map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        count()
    });
    looks.min().unwrap()
}

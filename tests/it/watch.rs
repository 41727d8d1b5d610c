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

/// Whether the next run ends, and this file then has this text.
#[track_caller]
fn reruns(watch: &mut Running, project: &Project, text: &str) {
    assert!(watch.read_until("run_finished"));
    assert_eq!(project.read("x.txt"), text);
}

#[test]
fn it_hears_of_sources_and_pipelines_that_vanish_and_come_back() {
    let project = Project::new(PIPELINE);
    let path = |name: &str| project.path(name);
    // The first run finds no source at all.
    let mut watch = project.start_any(&["watch", "--json"]);
    assert!(watch.read_until("error"));
    project.write("folder/b.txt", "1");
    project.write("a.txt", "1");
    reruns(&mut watch, &project, "11");
    std::fs::remove_file(path("a.txt")).unwrap();
    assert!(watch.read_until("error"));
    project.write("a.txt", "2");
    reruns(&mut watch, &project, "21");
    // An editor writes beside the file and renames.
    project.write("a.txt~", "3");
    std::fs::rename(path("a.txt~"), path("a.txt")).unwrap();
    reruns(&mut watch, &project, "31");
    std::fs::rename(path("folder"), path("away")).unwrap();
    assert!(watch.read_until("error"));
    std::fs::rename(path("away"), path("folder")).unwrap();
    assert!(watch.read_until("run_finished"));
    project.write("folder/b.txt", "2");
    reruns(&mut watch, &project, "32");
    // The pipeline, too, even if there is another one above.
    std::fs::rename(path("pipeline.yaml"), path("old.yaml")).unwrap();
    assert!(watch.read_until("error"));
    project.write("new.yaml", &PIPELINE.replace("cat $IN_a", "cat $IN_a $IN_a"));
    std::fs::rename(path("new.yaml"), path("pipeline.yaml")).unwrap();
    reruns(&mut watch, &project, "332");
    watch.signal(Signal::INT);
    assert_eq!(watch.end().code, Some(130));
}

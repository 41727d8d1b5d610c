//! `pipe watch`: runs again on a change of the file or a source, and only then.

use rustix::process::Signal;

use crate::harness::Project;

const PIPELINE: &str = "
stages:
  copy: {run: 'cat $IN_a $IN_b/* > $OUT_x', inputs: {a: a.txt, b: folder}, outputs: [x], publish: {x: x.txt}}
";

#[test]
fn it_runs_again_when_a_source_or_the_file_changes_and_ends_with_ctrl_c() {
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
    // A wrong pipeline is told, and does not end it.
    project.write("pipeline.yaml", "stages: [");
    assert!(watch.read_until("error"));
    project.write("pipeline.yaml", &PIPELINE.replace("cat", "echo new; cat"));
    assert!(watch.read_until("run_finished"));
    watch.signal(Signal::INT);
    let ended = watch.end();
    assert_eq!(ended.code, Some(130), "{}", ended.stderr);
}

//! `pipe run --submit` puts the whole graph into the queue and exits.

use super::{Cluster, wait_for_file};
use crate::harness::{Ended, Project, open_gate};

const GRAPH: &str = "
stages:
  source:
    run: echo source >> ran.log; cat \"$IN_x\" > \"$OUT_y\"
    inputs: {x: text.txt}
    outputs: [y]
  same:
    run: echo same >> ran.log; wc -l < \"$IN_x\" > \"$OUT_y\"
    inputs: {x: source:y}
    outputs: [y]
  part:
    foreach: [1, 2, 3]
    run: echo part >> ran.log; { cat \"$IN_x\"; echo ${item}; } > \"$OUT_y\"
    inputs: {x: same:y}
    outputs: [y]
  after:
    foreach: [1, 2, 3]
    run: echo after >> ran.log; cat \"$IN_x\" > \"$OUT_y\"
    inputs: {x: \"part@${item}:y\"}
    outputs: [y]
  end:
    run: echo end >> ran.log; cat \"$IN_x\"/* > \"$OUT_y\"
    inputs: {x: \"after@*:y\"}
    outputs: [y]
    publish: {y: end.txt}
";

impl Cluster {
    #[track_caller]
    fn submit(&self, project: &Project, arguments: &[&str]) -> Ended {
        self.pipe(project, &[&["run", "--submit", "--json"], arguments].concat())
    }

    /// Waits until none of these jobs is in the queue any more.
    #[track_caller]
    fn wait_for_all(&self, submitted: &Ended) {
        let jobs = jobs(submitted).join(",");
        self.wait_for("squeue", &["-h", "-o", "%T", "-j", &jobs], |said| said.trim().is_empty());
    }
}

fn jobs(submitted: &Ended) -> Vec<String> {
    let events = submitted.events().into_iter();
    events.map(|line| line["job"].as_str().unwrap().to_owned()).collect()
}

/// The logs of all submitted jobs.
#[track_caller]
fn logs(project: &Project) -> String {
    let logs = project.stored("logs/submitted");
    logs.iter().map(|log| std::fs::read_to_string(log).unwrap()).collect()
}

#[test]
fn the_whole_graph_goes_into_the_queue_keeps_its_order_and_its_early_cut_off() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let project = Project::new(GRAPH);
    project.write("text.txt", "a\nb\n");
    let submitted = cluster.submit(&project, &[]).expect_code(0);
    let events = submitted.events();
    let after: Vec<_> = events.iter().map(|line| line["after"].as_str().unwrap_or("-")).collect();
    let ids = jobs(&submitted);
    assert_eq!(after[0], "-");
    assert_eq!(after[2], format!("afterok:{}", ids[1]));
    assert_eq!(after[3], format!("aftercorr:{}", ids[2]), "{after:?}");
    assert_eq!(after[4], format!("afterok:{}", ids[3]));
    cluster.wait_for_all(&submitted);
    assert_eq!(project.read("end.txt"), "2\n1\n2\n2\n2\n3\n");
    assert_eq!(project.take_log(), "after after after end part part part same source");
    assert_eq!(project.run(&[]).summary()["hits"], 9);
    // Other bytes but the same number of lines: `same` writes what it wrote before, so the stages
    // after it are hits.
    project.write("text.txt", "c\nd\n");
    let submitted = cluster.submit(&project, &[]).expect_code(0);
    assert_eq!(jobs(&submitted).len(), 5);
    cluster.wait_for_all(&submitted);
    assert_eq!(project.take_log(), "same source");
    assert_eq!(project.run(&[]).summary()["hits"], 9);
}

#[test]
fn a_queued_stage_is_not_submitted_again_and_one_that_changed_meanwhile_is_reported() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let text = |word: &str| {
        format!(
            "stages:
  wait:
    run: echo 1 > begun; read go < gate; echo 1 > \"$OUT_y\"
    outputs: [y]
  next:
    run: echo {word} >> ran.log; echo {word} > \"$OUT_y\"
    inputs: {{x: wait:y}}
    outputs: [y]
"
        )
    };
    let project = Project::new(&text("one"));
    project.fifo("gate");
    let first = cluster.submit(&project, &[]).expect_code(0);
    wait_for_file(&project.path("begun"));
    let second = cluster.submit(&project, &[]).expect_code(0);
    assert_eq!(jobs(&first), jobs(&second));
    assert!(second.events().iter().all(|line| line["queued_before"] == true));
    project.write("pipeline.yaml", &text("two"));
    open_gate(&project.path("gate"));
    cluster.wait_for_all(&first);
    assert_eq!(project.take_log(), "", "neither the submitted stage nor the changed one runs");
    let said = logs(&project);
    assert!(said.contains("stage `next` has changed since it was submitted"), "{said}");
}

#[test]
fn a_job_that_can_never_start_is_cancelled() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let project = Project::new(
        "stages:
  bad: {run: exit 3, outputs: [y]}
  next: {run: 'echo next >> ran.log', inputs: {x: bad:y}, outputs: [y]}
",
    );
    let submitted = cluster.submit(&project, &[]).expect_code(0);
    cluster.wait_for_all(&submitted);
    let last = jobs(&submitted).pop().unwrap();
    let state = cluster.ask("squeue", &["-h", "-o", "%T", "--states=all", "-j", &last]);
    assert_eq!(state.trim(), "CANCELLED");
    assert_eq!(project.take_log(), "");
}

#[test]
fn a_sweep_goes_into_the_queue_as_arrays_and_its_table_needs_no_further_run() {
    let Some((cluster, _turn)) = Cluster::shared() else { return };
    let project = Project::new(
        "vars: {n: 1}
stages:
  first: {run: 'echo first >> ran.log; echo 1 > \"$OUT_y\"', outputs: [y]}
  each: {run: 'echo each >> ran.log; echo ${n} > \"$OUT_y\"', inputs: {x: 'first:y'}, outputs: [y]}
",
    );
    let sweep = ["sweep", "n=1,2,3,4", "--json"];
    let submitted = cluster.pipe(&project, &[&sweep[..], &["--submit"]].concat()).expect_code(0);
    let sizes: Vec<usize> =
        submitted.events().iter().map(|line| line["stages"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1, 4], "a job, and an array that waits for it");
    cluster.wait_for_all(&submitted);
    let said = logs(&project);
    assert_eq!(project.take_log(), "each each each each first", "{said}");
    project.pipe(&sweep).expect_code(0);
    assert_eq!(project.take_log(), "");
}

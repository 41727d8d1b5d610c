//! The cause of a stage's death is reported, and a bug in the engine itself does not hang it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::channel;

use pipe::executor::status::{Ended, ExitStatus, News, Stop};
use pipe::executor::task::Task;
use pipe::executor::{Executor, ExecutorError, Process, Stopper};
use pipe::pipeline::{Overrides, Pipeline};
use pipe::plan::graph::Graph;
use pipe::plan::plan;
use pipe::run::config::RunConfig;
use pipe::run::context::{RunContext, prepare_store};
use pipe::run::event::RunEvent;
use pipe::run::run;
use pipe::sources::Sources;
use pipe::store::Store;
use pipe::store::index::Index;

use crate::harness::Project;

#[test]
fn a_killed_stage_is_told_with_its_last_lines_and_its_log() {
    let project = Project::new(
        "stages:\n  bad: {run: 'for i in $(seq 20); do echo line $i; done; kill -SEGV $$', outputs: [x]}\n",
    );
    let finished = project.run(&[]).expect_code(1).about("stage_finished", "bad");
    assert_eq!(finished["message"], "killed by signal 11 (segmentation fault)");
    let lines = finished["last_lines"].as_array().unwrap();
    assert_eq!((lines.len(), lines[11].as_str()), (12, Some("line 20")));
    let log = std::fs::read_to_string(finished["log"].as_str().unwrap()).unwrap();
    assert_eq!(log.lines().count(), 20);
    let text = project.pipe(&["run"]).expect_code(1).stderr;
    assert!(text.contains("  | line 20\n  log: cache/logs/bad/"), "{text}");
}

#[test]
fn a_process_killed_inside_of_a_stage_shows_in_its_status() {
    let project =
        Project::new("stages:\n  bad: {run: 'sh -c \"kill -9 \\$\\$\"; exit $?', outputs: [x]}\n");
    let finished = project.run(&[]).expect_code(1).about("stage_finished", "bad");
    assert_eq!(finished["message"], "exit code 137 (a process in it was killed by signal 9?)");
}

/// A control group of 64 MiB, which is more than any build of the engine has mapped.
struct SmallGroup(PathBuf);

impl SmallGroup {
    fn make() -> Option<SmallGroup> {
        let name = format!("pipe-test-{}", std::process::id());
        let versions = [
            ("memory/", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
            ("", "memory.max", "memory.swap.max"),
        ];
        versions.into_iter().find_map(|(folder, limit, swap)| {
            let group = SmallGroup(Path::new("/sys/fs/cgroup").join(folder).join(&name));
            fs::create_dir(&group.0).ok()?;
            fs::write(group.0.join(limit), "67108864").ok()?;
            // Without swap there is nothing to limit.
            let _ = fs::write(group.0.join(swap), if folder.is_empty() { "0" } else { "67108864" });
            Some(group)
        })
    }
}

impl Drop for SmallGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_stage_that_the_kernel_killed_for_lack_of_memory_is_told_as_that() {
    let Some(group) = SmallGroup::make() else {
        return eprintln!("skipped: no control group can be made here");
    };
    // `tail` keeps an endless line in memory.
    let project = Project::new(
        "stages:\n  hungry: {run: 'echo begun; head -c 300000000 /dev/zero | tail > $OUT_x; exit $?', outputs: [x]}\n",
    );
    let script = format!("echo $$ > {}/cgroup.procs && exec \"$0\" run", group.0.display());
    let ended = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_pipe")])
        .current_dir(project.path(""))
        .env_remove("PIPE_CACHE")
        .output()
        .unwrap();
    let text = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(text.contains("`hungry` failed: killed, probably out of memory\n"), "{text}");
    assert!(text.contains("\n  log: cache/logs/hungry/"), "{text}");
}

/// An executor whose processes all end in the same way.
struct Scripted(How);

#[derive(Clone, Copy, PartialEq)]
enum How {
    PanicsAtTheStart,
    PanicsWhileWaiting,
    RunsOutOfMemory,
}

impl Executor for Scripted {
    fn start(&self, _: &Task) -> Result<Box<dyn Process>, ExecutorError> {
        assert!(self.0 != How::PanicsAtTheStart, "a bug at the start");
        Ok(Box::new(Scripted(self.0)))
    }
}

impl Process for Scripted {
    fn stopper(&self) -> Box<dyn Stopper> {
        Box::new(Scripted(self.0))
    }

    fn wait(self: Box<Self>, _: &mut (dyn FnMut(News) + Send)) -> Result<Ended, ExecutorError> {
        assert!(self.0 != How::PanicsWhileWaiting, "a bug while it waited");
        Ok(ExitStatus::OutOfMemory.into())
    }
}

impl Stopper for Scripted {
    fn stop(&self, _: Stop) {}
}

/// The message and the hint of the stage that has failed.
#[track_caller]
fn failure_of(how: How) -> (String, String) {
    let project = Project::new(
        "stages:\n  a: {run: 'true', outputs: [x], timeout: 1h}\n  b: {run: 'true', inputs: {x: a:x}}\n",
    );
    let file = project.path("pipeline.yaml");
    let pipeline = Pipeline::load(&file, &Overrides::default()).unwrap();
    let (graph, store) = (Graph::new(&pipeline), Store::new(&project.path("cache")));
    let sources =
        Sources::new(Index::load(&store.index_file(), true), store.root(), &pipeline.root, true);
    let plan =
        plan(&pipeline, &graph, &pipeline.indices().collect(), &BTreeSet::new(), &sources, &store);
    let (executor, scratch) = (Scripted(how), prepare_store(&store).unwrap());
    let context = RunContext {
        pipeline: &pipeline,
        graph: &graph,
        sources: &sources,
        store: &store,
        scratch: &scratch,
        remote: None,
        executor: &executor,
        binary: &project.path("unused"),
        device: "cpu",
        threads: 1,
        interrupted: AtomicBool::new(false),
    };
    let config = RunConfig {
        jobs: 2,
        jobs_elsewhere: 2,
        keep_going: false,
        forced: BTreeSet::new(),
        overwrite_published: false,
        only: None,
        resources: BTreeMap::new(),
    };
    let mut failed = None;
    let summary = run(plan.unwrap(), &config, &context, channel(), &mut |event| {
        if let RunEvent::StageFinished(finished) = event
            && finished.stage == "a"
        {
            failed = Some((finished.message.unwrap(), finished.hint.unwrap()));
        }
    });
    let summary = summary.unwrap();
    assert_eq!((summary.failed, summary.skipped), (1, 1));
    drop(scratch);
    assert_eq!(project.entries("tmp").len(), 0);
    failed.unwrap()
}

#[test]
fn a_panic_in_the_thread_of_a_stage_fails_that_stage_and_does_not_hang_the_run() {
    for (how, bug) in [
        (How::PanicsAtTheStart, "`pipe` itself failed: a bug at the start"),
        (How::PanicsWhileWaiting, "`pipe` itself failed: a bug while it waited"),
    ] {
        let (message, hint) = failure_of(how);
        assert_eq!(message, bug);
        assert!(hint.contains("please report it"), "{hint}");
    }
}

#[test]
fn a_stage_that_ran_out_of_memory_is_told_what_needs_less() {
    let (message, hint) = failure_of(How::RunsOutOfMemory);
    assert_eq!(message, "killed, probably out of memory");
    assert!(hint.contains("`--jobs 1`"), "{hint}");
}

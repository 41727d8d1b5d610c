//! Steps of the allocation that the engine is in: each stage is an `srun --exact`, a child process
//! that delivers its output and ends when the step ends. Nothing polls.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::executor::local::Local;
use crate::executor::slurm::error::SlurmError;
use crate::executor::slurm::folder::{JobFile, JobFolder, Submission};
use crate::executor::slurm::queue::said;
use crate::executor::slurm::request::{LATE_FILES, NO_FOLDER, NO_PROGRAM, script, step_options};
use crate::executor::status::{Ended, ExitStatus, JobEnd, News, Stop};
use crate::executor::task::Task;
use crate::executor::{Executor, ExecutorError, Process, Stopper};
use crate::pipeline::ExecutorName;
use crate::store::Store;

/// The executor `srun`.
pub struct Attached<'a> {
    local: &'a Local,
    store: Store,
    binary: std::path::PathBuf,
}

impl<'a> Attached<'a> {
    /// `binary` is this program, at a path that the nodes see.
    pub fn new(local: &'a Local, store: &Store, binary: &Path) -> Attached<'a> {
        Attached { local, store: store.clone(), binary: binary.to_owned() }
    }
}

/// Variables of the allocation that must not reach a step: there they would be requests, and some
/// contradict each other.
const INHERITED: [&str; 11] = [
    "SLURM_CPUS_PER_TASK",
    "SLURM_GRES",
    "SLURM_GPUS_PER_TASK",
    "SLURM_MEM_PER_CPU",
    "SLURM_MEM_PER_GPU",
    "SLURM_MEM_PER_NODE",
    "SLURM_NNODES",
    "SLURM_NTASKS",
    "SLURM_NPROCS",
    "SLURM_NTASKS_PER_NODE",
    "SLURM_TIMELIMIT",
];

impl Executor for Attached<'_> {
    fn start(&self, task: &Task) -> Result<Box<dyn Process>, ExecutorError> {
        let folder = JobFolder(task.work.folder.clone());
        let late = task.work.request.late_files.unwrap_or(LATE_FILES);
        folder.write_job(&JobFile::of(task, self.store.root(), late.as_secs_f64())?)?;
        let name = format!("pipe-{}", task.work.key.short());
        folder.write_submission(&Submission { name: name.clone(), index: None })?;
        let mut arguments: Vec<String> =
            INHERITED.iter().flat_map(|name| ["-u", name].map(str::to_owned)).collect();
        let fixed = ["srun", "--exact", "--nodes=1", "--ntasks=1", "--chdir=/"];
        arguments.extend(fixed.map(str::to_owned));
        arguments.push(format!("--job-name={name}"));
        arguments.extend(step_options(&task.work.request));
        arguments.extend(task.work.request.options.iter().cloned());
        let script = script(&self.binary, &name, &folder.0, late, "--to-stdout ");
        arguments.extend(["/bin/sh".to_owned(), "-c".to_owned(), script]);
        let step = Task {
            program: "/usr/bin/env".into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: Vec::new(),
            log: folder.0.join("srun.log"),
            output_is_events: true,
            ends_by_term: true,
            ..task.clone()
        };
        let process = self.local.start(&step)?;
        let stopped = Arc::new(AtomicBool::new(false));
        Ok(Box::new(Step { process, folder, stopped, late, log: step.log }))
    }

    fn keeps_time(&self, _: ExecutorName) -> bool {
        true
    }
}

struct Step {
    process: Box<dyn Process>,
    folder: JobFolder,
    /// Stopped by this engine.
    stopped: Arc<AtomicBool>,
    late: Duration,
    /// The output of `srun` itself.
    log: std::path::PathBuf,
}

impl Process for Step {
    fn stopper(&self) -> Box<dyn Stopper> {
        Box::new(StepStopper {
            folder: self.folder.clone(),
            stopped: self.stopped.clone(),
            srun: self.process.stopper(),
        })
    }

    fn wait(
        self: Box<Self>,
        on_news: &mut (dyn FnMut(News) + Send),
    ) -> Result<Ended, ExecutorError> {
        let Step { process, folder, stopped, late, log } = *self;
        let Ended { status, .. } = process.wait(on_news)?;
        let stopped = stopped.load(Ordering::Relaxed);
        let mut result = folder.result();
        if result.is_none() && status == ExitStatus::Code(0) {
            result = clerk_wait(&folder, late);
        }
        let log = std::fs::read_to_string(log).unwrap_or_default();
        if let Some(result) = result {
            let elsewhere = Some(result.elsewhere);
            let killed = result.told || result.status.is_kill();
            let end = end_of_step(&log).filter(|_| killed && !stopped);
            let status = end.map_or(result.status, ExitStatus::Scheduler);
            return Ok(Ended { status, elsewhere });
        }
        if stopped {
            return Ok(ExitStatus::Signal(Signal::TERM.as_raw()).into());
        }
        if let Some(end) = end_of_step(&log) {
            return Ok(ExitStatus::Scheduler(end).into());
        }
        let node = node_of(&log);
        let error = match status {
            ExitStatus::Code(NO_FOLDER) => SlurmError::NotShared { node, path: folder.0 },
            ExitStatus::Code(NO_PROGRAM) => {
                let path = std::env::current_exe().unwrap_or_default();
                SlurmError::NotShared { node, path }
            }
            ExitStatus::Code(0) => {
                SlurmError::NothingBack { node, path: folder.0, seconds: late.as_secs() }
            }
            _ if folder.started().is_none() => SlurmError::Refused { said: said(&log) },
            status => {
                let said = format!("{status}; {}", said(&log));
                return Ok(ExitStatus::Scheduler(JobEnd::Lost { said }).into());
            }
        };
        Err(error.into())
    }
}

/// Waits for a result that appears late.
fn clerk_wait(folder: &JobFolder, late: Duration) -> Option<super::folder::JobResult> {
    let until = std::time::Instant::now() + late;
    while std::time::Instant::now() < until {
        std::thread::sleep(Duration::from_millis(200));
        // Listing a folder makes new files in it visible.
        let _ = std::fs::read_dir(&folder.0);
        if let Some(result) = folder.result() {
            return Some(result);
        }
    }
    None
}

/// What `srun` reports about a step that the scheduler has ended.
fn end_of_step(log: &str) -> Option<JobEnd> {
    let says = |text: &str| log.contains(text);
    Some(if says("DUE TO TIME LIMIT") {
        JobEnd::TimeLimit
    } else if says("DUE TO PREEMPTION") {
        JobEnd::Preempted
    } else if says("DUE TO NODE") || says("Node failure") {
        JobEnd::NodeFailed { nodes: node_of(log) }
    } else if says("oom-kill") || says("oom_kill") || says("Out Of Memory") {
        JobEnd::OutOfMemory
    } else if says("CANCELLED AT") {
        JobEnd::Cancelled
    } else {
        return None;
    })
}

/// The node in `STEP 1.4 ON n1 CANCELLED`, or in `srun: error: n1: task 0: …`.
fn node_of(log: &str) -> String {
    let on = log.split(" ON ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let before_task = || log.split(": task ").next().filter(|rest| rest.len() < log.len());
    let of_task = || before_task()?.rsplit(' ').next();
    on.or_else(of_task).unwrap_or_default().to_owned()
}

struct StepStopper {
    folder: JobFolder,
    stopped: Arc<AtomicBool>,
    srun: Box<dyn Stopper>,
}

impl Stopper for StepStopper {
    fn stop(&self, how: Stop) {
        self.stopped.store(true, Ordering::Relaxed);
        self.folder.tell_to_stop(how);
        if how == Stop::Now {
            // On SIGTERM, `srun` ends its step by force. If `srun` were killed, it would leave the
            // step behind.
            self.srun.stop(Stop::Politely);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{end_of_step, node_of};
    use crate::executor::status::JobEnd;

    #[test]
    fn what_srun_says_of_an_end_is_understood() {
        let cancelled = "slurmstepd-n1: error: *** STEP 1.4 ON n1 CANCELLED AT 2026-11-23T22:10:17 ***\n\
                         srun: error: n1: task 0: Killed\n";
        assert_eq!(end_of_step(cancelled), Some(JobEnd::Cancelled));
        assert_eq!(node_of(cancelled), "n1");
        let time =
            "slurmstepd: error: *** STEP 1.4 ON n2 CANCELLED AT 2026 DUE TO TIME LIMIT ***\n";
        assert_eq!(end_of_step(time), Some(JobEnd::TimeLimit));
        assert_eq!(end_of_step("srun: error: n3: task 0: Exited with exit code 7\n"), None);
        assert_eq!(node_of("srun: error: n3: task 0: Exited with exit code 7\n"), "n3");
    }
}

//! Stages as child processes on this machine, each in a process group of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use stages::Event;

use super::guard::Guard;
use super::memory::OomKills;
use super::spawn::{Streams, reap, spawn};
use crate::executor::status::{Ended, ExitStatus, News, Stop};
use crate::executor::task::Task;
use crate::executor::{Executor, ExecutorError, Process, Stopper};
use crate::files::disk;
use crate::files::file_error::FileError;

/// The executor `local`.
pub struct Local {
    binary: PathBuf,
    /// Started with the first stage, and again if something has killed it.
    guard: Mutex<Option<Arc<Guard>>>,
}

impl Local {
    /// `binary` is this program, which also serves as the guard.
    pub fn new(binary: &Path) -> Local {
        Local { binary: binary.to_owned(), guard: Mutex::default() }
    }

    fn guard(&self) -> Result<Arc<Guard>, FileError> {
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guard) = guard.as_ref().filter(|guard| guard.is_alive()) {
            return Ok(guard.clone());
        }
        let started = Arc::new(Guard::start(&self.binary)?);
        Ok(guard.insert(started).clone())
    }
}

impl Executor for Local {
    fn start(&self, task: &Task) -> Result<Box<dyn Process>, ExecutorError> {
        let guard = self.guard()?;
        let log =
            disk::create_file(&task.log).map_err(FileError::at("opening the log", &task.log))?;
        let starting = || FileError::at("starting", &task.program);
        let input =
            File::open("/dev/null").map_err(FileError::at("opening", "/dev/null".as_ref()))?;
        let events = task.output_is_events.then(std::io::pipe).transpose().map_err(starting())?;
        let streams = Streams {
            input: input.as_fd(),
            output: events.as_ref().map_or(log.as_fd(), |(_, writer)| writer.as_fd()),
            error: log.as_fd(),
        };
        let oom_kills = OomKills::now();
        let group = spawn(task, &streams, guard.pipe()).map_err(starting())?;
        // This drops our copy of the writing end.
        let events = events.map(|(reader, _)| reader);
        let alive = Arc::new(Mutex::new(Some(group)));
        Ok(Box::new(LocalProcess { group, alive, events, log, guard, oom_kills }))
    }
}

/// The exit code of a shell whose last command was killed by signal 9.
const KILLED_IN_SHELL: i32 = 128 + libc::SIGKILL;

struct LocalProcess {
    /// The process, and also the group of all processes that it starts.
    group: Pid,
    /// `None` once the number of the group may belong to other processes.
    alive: Arc<Mutex<Option<Pid>>>,
    events: Option<PipeReader>,
    log: File,
    guard: Arc<Guard>,
    /// The count at the time when the process started.
    oom_kills: OomKills,
}

impl Process for LocalProcess {
    fn stopper(&self) -> Box<dyn Stopper> {
        Box::new(LocalStopper(self.alive.clone()))
    }

    fn wait(
        mut self: Box<Self>,
        on_news: &mut (dyn FnMut(News) + Send),
    ) -> Result<Ended, ExecutorError> {
        let waiting = |error| FileError::at("waiting for", Path::new("the stage's process"))(error);
        let (events, mut log) = (self.events.take(), &self.log);
        std::thread::scope(|scope| {
            if let Some(events) = events {
                scope.spawn(move || deliver(events, on_news, &mut log));
            }
            // The process stays a zombie for now, so that the number of its group is not reused.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            loop {
                match waitid(WaitId::Pid(self.group), options) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other.map(drop),
                }
            }
            .map_err(|error| waiting(error.into()))?;
            let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
            *alive = None;
            // A process that is left running would continue to write to outputs that are being
            // collected.
            let _ = kill_process_group(self.group, Signal::KILL);
            self.guard.strike_off(self.group);
            Ok::<_, FileError>(())
        })?;
        let status = reap(self.group).map_err(waiting)?;
        let (signal, code) = (status.terminating_signal(), status.exit_status());
        let killed = signal == Some(libc::SIGKILL) || code == Some(KILLED_IN_SHELL);
        if killed && OomKills::now().rose_since(self.oom_kills) {
            return Ok(ExitStatus::OutOfMemory.into());
        }
        let status = match signal {
            Some(signal) => ExitStatus::Signal(signal),
            None => ExitStatus::Code(code.unwrap_or(-1)),
        };
        Ok(status.into())
    }
}

/// Lines that are not events (from a library that prints) go to the log.
fn deliver(output: PipeReader, on_news: &mut (dyn FnMut(News) + Send), log: &mut &File) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        match serde_json::from_slice::<Event>(&line) {
            Ok(event) => on_news(News::Says(event)),
            // The log is for people. If the disk is full, that shows elsewhere.
            Err(_) => drop(log.write_all(&line)),
        }
        line.clear();
    }
}

struct LocalStopper(Arc<Mutex<Option<Pid>>>);

impl Stopper for LocalStopper {
    fn stop(&self, how: Stop) {
        let signal = match how {
            Stop::Politely => Signal::TERM,
            Stop::Now => Signal::KILL,
        };
        let alive = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = *alive {
            // The group may be ending at this moment.
            let _ = kill_process_group(group, signal);
            // A stopped process, such as a command that reads the terminal, must continue in order
            // to end.
            let _ = kill_process_group(group, Signal::CONT);
        }
    }
}

//! Stages as processes on this machine, which the guard starts, each below a supervisor of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stages::Event;

use super::guard::Guard;
use super::launch::{Launch, Streams};
use super::memory::OomKills;
use super::supervisor::{self, Outcome};
use crate::executor::status::{Ended, ExitStatus, News, Stop};
use crate::executor::task::Task;
use crate::executor::{Executor, ExecutorError, Process, Stopper};
use crate::files::disk;
use crate::files::file_error::FileError;
use crate::files::threads;

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

    /// Starts a process. A guard that was killed at this moment is replaced once.
    fn launch(
        &self,
        task: &Task,
        streams: &Streams,
    ) -> Result<(Arc<Guard>, OwnedFd), ExecutorError> {
        let starting = || FileError::at("starting", &task.program);
        let launch = Launch::of(task).map_err(starting())?;
        for _ in 0..2 {
            let guard = self.guard()?;
            if let Some(control) = guard.launch(&launch, streams).map_err(starting())? {
                return Ok((guard, control));
            }
        }
        Err(FileError::found("starting", &task.program, "the guard of `pipe` was killed").into())
    }
}

impl Executor for Local {
    fn start(&self, task: &Task) -> Result<Box<dyn Process>, ExecutorError> {
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
        let (guard, control) = self.launch(task, &streams)?;
        // This drops our copy of the writing end.
        let events = events.map(|(reader, _)| reader);
        Ok(Box::new(LocalProcess { control: Arc::new(control), events, log, guard, oom_kills }))
    }
}

/// The exit code of a shell whose last command was killed by signal 9.
const KILLED_IN_SHELL: i32 = 128 + libc::SIGKILL;

struct LocalProcess {
    /// The socket of its supervisor.
    control: Arc<OwnedFd>,
    events: Option<PipeReader>,
    log: File,
    guard: Arc<Guard>,
    /// The count at the time when the process started.
    oom_kills: OomKills,
}

impl Process for LocalProcess {
    fn stopper(&self) -> Box<dyn Stopper> {
        Box::new(LocalStopper(self.control.clone()))
    }

    fn wait(
        mut self: Box<Self>,
        on_news: &mut (dyn FnMut(News) + Send),
    ) -> Result<Ended, ExecutorError> {
        let what = Path::new("the stage's process");
        let (events, mut log) = (self.events.take(), &self.log);
        let outcome = std::thread::scope(|scope| {
            let mut refused = Ok(());
            if let Some(events) = events {
                let deliver = move || deliver(events, on_news, &mut log);
                let thread = threads::spawn_scoped(scope, Path::new("a stage's output"), deliver);
                refused = thread.map(drop);
            }
            if refused.is_err() {
                // Nobody would hear what the process says.
                supervisor::stop(&self.control, Stop::Now);
            }
            let outcome = supervisor::ended(&self.control);
            if !matches!(outcome, Ok(Some(_))) {
                self.guard.supervisor_is_lost();
            }
            refused.map(|()| outcome)
        })?;
        let outcome = outcome.map_err(FileError::at("waiting for", what))?;
        let Some(Outcome { status, left }) = outcome else {
            let problem = "something has killed the process of `pipe` that supervised it";
            return Err(FileError::found("waiting for", what, problem).into());
        };
        if left > 0 {
            let problem = "it left processes running that cannot be ended: they belong to another \
                           user, or wait for a disk";
            return Err(FileError::found("ending", what, problem).into());
        }
        let (signal, code) = (status.signal(), status.code());
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

struct LocalStopper(Arc<OwnedFd>);

impl Stopper for LocalStopper {
    fn stop(&self, how: Stop) {
        supervisor::stop(&self.0, how);
    }
}

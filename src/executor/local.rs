//! Stages as child processes on this machine, each in a process group of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process_group,
    set_parent_process_death_signal, waitid,
};
use stages::Event;

use super::guard::{Guard, announce};
use super::memory::OomKills;
use super::{Executor, ExitStatus, Process, Stop, Stopper, Task};
use crate::disk;
use crate::file_error::FileError;

/// The executor `local`.
pub struct Local {
    binary: PathBuf,
    /// Started with the first stage.
    guard: OnceLock<Arc<Guard>>,
}

impl Local {
    /// `binary` is this program, which serves as the guard too.
    pub fn new(binary: &Path) -> Local {
        Local { binary: binary.to_owned(), guard: OnceLock::new() }
    }

    fn guard(&self) -> Result<Arc<Guard>, FileError> {
        if let Some(guard) = self.guard.get() {
            return Ok(guard.clone());
        }
        // If two threads are first at once, the second guard sees its pipe close and ends.
        let guard = Arc::new(Guard::start(&self.binary)?);
        Ok(self.guard.get_or_init(|| guard).clone())
    }
}

impl Executor for Local {
    fn start(&self, task: &Task) -> Result<Box<dyn Process>, FileError> {
        let guard = self.guard()?;
        let log =
            disk::create_file(&task.log).map_err(FileError::at("opening the log", &task.log))?;
        let log_too = log.try_clone().map_err(FileError::at("opening the log", &task.log))?;
        let mut command = Command::new(&task.program);
        command
            .args(&task.arguments)
            .envs(task.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&task.working_folder)
            .stdin(Stdio::null())
            .stderr(log)
            .process_group(0);
        if task.output_is_events {
            command.stdout(Stdio::piped());
        } else {
            command
                .stdout(log_too.try_clone().map_err(FileError::at("opening the log", &task.log))?);
        }
        let engine = getpid();
        let for_child = guard.clone();
        // SAFETY: between fork and exec only system calls are made, and nothing is allocated.
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                announce(for_child.pipe(), getpid())?;
                // Had the engine died before the first line, no signal would come.
                if getppid() != Some(engine) {
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                }
                Ok(())
            });
        }
        let oom_kills = OomKills::now();
        let mut child = command.spawn().map_err(FileError::at("starting", &task.program))?;
        let events = child.stdout.take();
        let group = Pid::from_child(&child);
        let alive = Arc::new(Mutex::new(Some(group)));
        Ok(Box::new(LocalProcess { child, group, alive, events, log: log_too, guard, oom_kills }))
    }
}

/// The status of a shell whose last command was killed by signal 9.
const KILLED_IN_SHELL: i32 = 128 + libc::SIGKILL;

struct LocalProcess {
    child: Child,
    group: Pid,
    /// `None` once the group's number may belong to others.
    alive: Arc<Mutex<Option<Pid>>>,
    events: Option<ChildStdout>,
    log: File,
    guard: Arc<Guard>,
    /// As counted when it started.
    oom_kills: OomKills,
}

impl Process for LocalProcess {
    fn stopper(&self) -> Box<dyn Stopper> {
        Box::new(LocalStopper(self.alive.clone()))
    }

    fn wait(
        mut self: Box<Self>,
        on_event: &mut (dyn FnMut(Event) + Send),
    ) -> Result<ExitStatus, FileError> {
        let waiting = |error| FileError::at("waiting for", Path::new("the stage's process"))(error);
        let (events, mut log) = (self.events.take(), &self.log);
        std::thread::scope(|scope| {
            if let Some(events) = events {
                scope.spawn(move || deliver(events, on_event, &mut log));
            }
            // It stays a zombie for now, which keeps its group's number from being given away.
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
            // What it left running would write on into outputs that are being collected.
            let _ = kill_process_group(self.group, Signal::KILL);
            self.guard.strike_off(self.group);
            Ok(())
        })?;
        let status = self.child.wait().map_err(waiting)?;
        let killed =
            status.signal() == Some(libc::SIGKILL) || status.code() == Some(KILLED_IN_SHELL);
        if killed && OomKills::now().rose_since(self.oom_kills) {
            return Ok(ExitStatus::OutOfMemory);
        }
        Ok(match status.signal() {
            Some(signal) => ExitStatus::Signal(signal),
            None => ExitStatus::Code(status.code().unwrap_or(-1)),
        })
    }
}

/// Lines that are no events (a library that prints) go to the log.
fn deliver(output: ChildStdout, on_event: &mut (dyn FnMut(Event) + Send), log: &mut &File) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        match serde_json::from_slice(&line) {
            Ok(event) => on_event(event),
            // The log is for people; a full disk shows elsewhere.
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
            // It may be ending at this moment.
            let _ = kill_process_group(group, signal);
        }
    }
}

//! How a stage's process is started, and nothing else. What the process finds (its folder, its
//! manifest, its environment) is prepared before, what it leaves is collected after, the same
//! way for every executor.

pub mod guard;
pub mod local;
mod memory;
mod spawn;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use stages::Event;

use crate::file_error::FileError;

/// One process to start.
#[derive(Clone, Debug)]
pub struct Task {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
    /// Added to the environment of the engine.
    pub environment: Vec<(String, OsString)>,
    pub working_folder: PathBuf,
    /// Receives standard error, and standard output unless that carries events.
    pub log: PathBuf,
    pub output_is_events: bool,
}

/// Starts processes here, or elsewhere.
pub trait Executor: Sync {
    fn start(&self, task: &Task) -> Result<Box<dyn Process>, FileError>;
}

/// A process that was started.
pub trait Process {
    /// To end it from another thread while this one waits.
    fn stopper(&self) -> Box<dyn Stopper>;

    /// Hands over its events as they come, and returns when it and all that it started have
    /// ended.
    fn wait(
        self: Box<Self>,
        on_event: &mut (dyn FnMut(Event) + Send),
    ) -> Result<ExitStatus, FileError>;
}

/// Ends a process.
pub trait Stopper: Send {
    fn stop(&self, how: Stop);
}

/// How to end a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It may still tidy up.
    Politely,
    Now,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
    /// By signal 9, and the kernel has counted a kill for lack of memory meanwhile.
    OutOfMemory,
}

impl ExitStatus {
    pub fn is_success(self) -> bool {
        self == ExitStatus::Code(0)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match *self {
            ExitStatus::Code(127) => f.write_str("exit code 127 (command not found?)"),
            // How a shell says that its last command died of a signal.
            ExitStatus::Code(code @ 129..=159) => {
                write!(f, "exit code {code} (a process in it was killed by signal {}?)", code - 128)
            }
            ExitStatus::Code(code) => write!(f, "exit code {code}"),
            ExitStatus::OutOfMemory => f.write_str("killed, probably out of memory"),
            ExitStatus::Signal(signal) => {
                let meaning = match signal {
                    libc::SIGKILL => "by somebody, or out of memory",
                    libc::SIGSEGV => "segmentation fault",
                    libc::SIGBUS => "bus error: a mapped file shrank, or the disk failed",
                    libc::SIGABRT => "aborted",
                    libc::SIGILL => "illegal instruction",
                    libc::SIGFPE => "arithmetic error",
                    libc::SIGPIPE => "broken pipe",
                    libc::SIGTERM => "terminated",
                    libc::SIGINT => "interrupted",
                    libc::SIGXCPU => "processor time limit",
                    libc::SIGXFSZ => "file size limit",
                    _ => return write!(f, "killed by signal {signal}"),
                };
                write!(f, "killed by signal {signal} ({meaning})")
            }
        }
    }
}

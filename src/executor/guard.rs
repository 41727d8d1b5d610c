//! A small process beside the engine that ends the stages' process groups when the engine dies
//! without doing so itself, for instance by `kill -9`. The parent-death signal alone reaches only
//! the process that the engine started, not that process's children.
//!
//! Each stage's process announces its group through a pipe before it becomes the stage. The engine
//! strikes the group off when it has ended. When the engine dies, the pipe closes.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, setsid, waitid};

use crate::files::file_error::FileError;

/// The engine's end of the pipe.
pub struct Guard {
    /// `None` only while the guard is being dropped.
    pipe: Option<OwnedFd>,
    process: Child,
}

/// One message: a sign and a process group. It is small enough to be written in one piece.
type GroupMessage = [u8; 5];

impl Guard {
    /// Starts `binary guard`.
    pub fn start(binary: &Path) -> Result<Guard, FileError> {
        let at = || FileError::at("starting the guard", binary);
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| at()(error.into()))?;
        let mut command = Command::new(binary);
        command.arg(SUBCOMMAND).stdin(read).stdout(Stdio::null()).stderr(Stdio::null());
        // A session of its own: Ctrl-C and a `kill` of the engine's group do not reach the guard.
        // SAFETY: `setsid` is a plain system call, allowed between fork and exec.
        unsafe {
            command.pre_exec(|| setsid().map(drop).map_err(Into::into));
        }
        let process = command.spawn().map_err(at())?;
        Ok(Guard { pipe: Some(write), process })
    }

    /// Where a stage's process announces itself; see [`announcement`].
    pub fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(OwnedFd::as_fd)
    }

    /// Whether the guard's process is still alive; something may have killed it.
    pub fn is_alive(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(Pid::from_child(&self.process)), options), Ok(None))
    }

    /// Tells the guard that the group has ended.
    pub fn strike_off(&self, group: Pid) {
        // If the guard is gone, nobody needs to know.
        let _ = self
            .pipe()
            .map(|pipe| rustix::io::write(pipe, &message(b'-', group.as_raw_nonzero().get())));
    }
}

impl Drop for Guard {
    /// Closes the pipe, and waits for the guard to end so that no zombie is left.
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.process.wait();
    }
}

/// The name of the hidden subcommand.
pub const SUBCOMMAND: &str = "guard";

/// What a stage's process writes to the guard's pipe before it becomes the stage.
pub fn announcement(group: i32, ends_by_term: bool) -> GroupMessage {
    message(if ends_by_term { b'~' } else { b'+' }, group)
}

fn message(sign: u8, group: i32) -> GroupMessage {
    let [a, b, c, d] = group.to_le_bytes();
    [sign, a, b, c, d]
}

/// The main loop of the guard: reads until the engine is gone, then ends the groups that are left.
pub fn watch(mut input: impl Read) {
    let mut groups = BTreeMap::new();
    let mut message: GroupMessage = [0; 5];
    while input.read_exact(&mut message).is_ok() {
        let [sign, a, b, c, d] = message;
        let group = i32::from_le_bytes([a, b, c, d]);
        match sign {
            b'+' => groups.insert(group, Signal::KILL),
            b'~' => groups.insert(group, Signal::TERM),
            _ => groups.remove(&group),
        };
    }
    for (group, signal) in groups {
        // The group may have ended in the meantime.
        let _ = Pid::from_raw(group).map(|group| kill_process_group(group, signal));
    }
}

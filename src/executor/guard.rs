//! The guard: a small process beside the engine that starts the stages. Of each stage it makes a
//! supervisor, a copy of itself (`supervisor.rs`), which starts the stage's process, waits for
//! it, and ends everything that it leaves behind, also when the engine dies without doing so, for
//! instance by `kill -9`. The engine itself could not be copied that fast: with ten thousand stages
//! in memory, `fork` takes longer than everything else about a short stage.
//!
//! ```text
//! engine ── guard ─┬─ supervisor ── a stage's process ── …
//!                  └─ supervisor ── a stage's process ── …
//! ```
//!
//! The engine sends the guard a message for each stage, with these file descriptors: a file with the
//! `Launch`, the supervisor's end of a socket, and the three standard streams. Everything else
//! about the stage passes through that socket, see `supervisor.rs`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{io, process};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, setsid, wait, waitid};

use super::launch::{Launch, Streams};
use super::signals;
use super::supervisor::{self, end_children};
use crate::files::file_error::FileError;

/// The engine's end.
pub struct Guard {
    /// `None` only while the guard is being dropped.
    socket: Option<OwnedFd>,
    process: Child,
}

/// The message for a stage to start.
const START: u8 = b's';
/// The message that a supervisor has been killed.
const LOST: u8 = b'l';
/// How many file descriptors come with [`START`].
const DESCRIPTORS: usize = 5;

/// A socket that keeps messages apart, and tells when the other end is gone.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

impl Guard {
    /// Starts `binary guard`.
    pub fn start(binary: &Path) -> Result<Guard, FileError> {
        let at = || FileError::at("starting the guard", binary);
        let (ours, theirs) = pair().map_err(at())?;
        let mut command = Command::new(binary);
        command.arg(SUBCOMMAND).stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
        // A session of its own: Ctrl-C and a `kill` of the engine's group do not reach the guard,
        // and the stages have no terminal.
        // SAFETY: `setsid` is a plain system call, allowed between fork and exec.
        unsafe {
            command.pre_exec(|| setsid().map(drop).map_err(Into::into));
        }
        let process = command.spawn().map_err(at())?;
        Ok(Guard { socket: Some(ours), process })
    }

    /// Has a stage's process started. Returns the socket of its supervisor, or `None` if the guard
    /// is gone.
    pub fn launch(&self, launch: &Launch, streams: &Streams) -> io::Result<Option<OwnedFd>> {
        let Some(socket) = &self.socket else { return Ok(None) };
        let (ours, theirs) = pair()?;
        let mut file = File::from(memfd_create("launch", MemfdFlags::CLOEXEC)?);
        file.write_all(&launch.to_bytes()?)?;
        file.rewind()?;
        let sent = {
            let descriptors =
                [file.as_fd(), theirs.as_fd(), streams.input, streams.output, streams.error];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
            let mut attached = SendAncillaryBuffer::new(&mut space);
            attached.push(SendAncillaryMessage::ScmRights(&descriptors));
            sendmsg(socket, &[IoSlice::new(&[START])], &mut attached, SendFlags::NOSIGNAL)
        };
        if matches!(sent, Err(Errno::PIPE | Errno::CONNRESET)) {
            return Ok(None);
        }
        sent?;
        // So that the socket closes if the guard dies before it has made the supervisor.
        drop(theirs);
        supervisor::started(&ours).map(|started| started.then_some(ours))
    }

    /// Whether the guard's process is still alive; something may have killed it.
    pub fn is_alive(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(Pid::from_child(&self.process)), options), Ok(None))
    }

    /// Has the guard end the processes of a supervisor that was killed.
    pub fn supervisor_is_lost(&self) {
        // If the guard is gone as well, nobody can.
        let _ = self
            .socket
            .as_ref()
            .map(|socket| rustix::net::send(socket, &[LOST], SendFlags::NOSIGNAL));
    }
}

impl Drop for Guard {
    /// Closes the socket, and waits for the guard to end so that no zombie is left.
    fn drop(&mut self) {
        self.socket = None;
        let _ = self.process.wait();
    }
}

/// The name of the hidden subcommand.
pub const SUBCOMMAND: &str = "guard";

/// The main loop of the guard: starts stages until the engine is gone.
pub fn serve(socket: OwnedFd) {
    // The copies of this process must not hold the guard's end of the socket.
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(null);
    }
    // Slurm and systemd send SIGTERM to every process of a job or service. It is for the engine and
    // the stages: the guard and its copies see to it that they end, and end after them.
    let _ = signals::block(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP]);
    // The processes of a supervisor that was killed become children of the guard.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    let mut supervisors = HashSet::new();
    while let Ok((message, descriptors)) = receive(&socket) {
        while let Ok(Some((ended, _))) = wait(WaitOptions::NOHANG) {
            supervisors.remove(&ended);
        }
        if message == LOST {
            end_children(&mut supervisors);
        }
        let Ok([launch, control, input, output, error]) =
            <[OwnedFd; DESCRIPTORS]>::try_from(descriptors)
        else {
            continue;
        };
        // SAFETY: this process has one thread only, so its copy may do everything.
        match unsafe { libc::fork() } {
            0 => {
                drop(socket);
                let mut bytes = Vec::new();
                let read = File::from(launch).read_to_end(&mut bytes);
                if let Some(launch) = read.ok().and_then(|_| Launch::from_bytes(&bytes)) {
                    supervisor::supervise(&launch, &control, [input, output, error]);
                }
                process::exit(0);
            }
            // Then the closed socket tells the engine.
            copy => supervisors.extend(Pid::from_raw(copy.max(0))),
        }
    }
    // Supervisors notice the death of the engine themselves.
    while let Ok(Some((ended, _))) = wait(WaitOptions::NOHANG) {
        supervisors.remove(&ended);
    }
    end_children(&mut supervisors);
}

/// One message with its file descriptors; an error when the engine is gone.
fn receive(socket: &OwnedFd) -> io::Result<(u8, Vec<OwnedFd>)> {
    let mut message = [0];
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut attached = RecvAncillaryBuffer::new(&mut space);
        let into = &mut [IoSliceMut::new(&mut message)];
        match recvmsg(socket, into, &mut attached, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => continue,
            Ok(received) if received.bytes == 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let descriptors = attached.drain().filter_map(|attached| match attached {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let descriptors = descriptors.flatten().collect();
        return Ok((message[0], descriptors));
    }
}

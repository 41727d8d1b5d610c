//! The supervisor of one stage: a process between the guard and the stage's own. Whatever the stage
//! starts stays below the supervisor, also when it leaves the stage's group and session or loses its
//! parent (a "daemon"), because the supervisor is a subreaper. So it can end all of it, and knows
//! when nothing is left that might write to an output.
//!
//! | on the socket | says |
//! |---|---|
//! | `s` | it has started |
//! | `e` and a number | it could not be started, for this reason |
//! | `T`, from the engine | ask the stage to end |
//! | `K`, from the engine | end everything |
//! | `x`, its wait status, and a number | it has ended, and so many of its processes could not be ended |
//!
//! When the socket closes, the engine is dead.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, getppid, kill_process, kill_process_group,
    set_child_subreaper, set_parent_process_death_signal, wait,
};

use super::launch::Launch;
use super::signals::{block, unblock_all};
use crate::executor::status::Stop;

/// How long to try to end what a stage has left running. Only processes of another user, or ones
/// that wait for a broken disk, are not gone at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a stage's process ended.
pub struct Outcome {
    pub status: ExitStatus,
    /// How many of the processes that it started could not be ended.
    pub left: i32,
}

/// For the engine: waits until the process has started, or returns why it could not be. `false`: the
/// guard is gone, and no supervisor was made.
pub fn started(control: &OwnedFd) -> io::Result<bool> {
    let mut message = [0; 5];
    match receive(control, &mut message)? {
        0 => Ok(false),
        _ if message[0] == b's' => Ok(true),
        _ => Err(io::Error::from_raw_os_error(number(&message[1..]))),
    }
}

/// For the engine: waits for the end of the process and of everything that it started. `None`: the
/// supervisor itself was killed.
pub fn ended(control: &OwnedFd) -> io::Result<Option<Outcome>> {
    let mut message = [0; 9];
    if receive(control, &mut message)? == 0 {
        return Ok(None);
    }
    let status = ExitStatus::from_raw(number(&message[1..5]));
    Ok(Some(Outcome { status, left: number(&message[5..]) }))
}

/// For the engine: ends the process.
pub fn stop(control: &OwnedFd, how: Stop) {
    let message = match how {
        Stop::Politely => b"T",
        Stop::Now => b"K",
    };
    // The process may be ending at this moment.
    let _ = send(control, message, SendFlags::NOSIGNAL);
}

fn number(bytes: &[u8]) -> i32 {
    bytes.try_into().map(i32::from_le_bytes).unwrap_or_default()
}

fn receive(control: &OwnedFd, message: &mut [u8]) -> io::Result<usize> {
    loop {
        match recv(control, &mut *message, RecvFlags::empty()) {
            // The other end is gone and has left a message of ours unread. This is told once, before
            // the last message from there.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            other => return Ok(other?.1),
        }
    }
}

/// The whole life of a supervisor.
pub fn supervise(launch: &Launch, control: &OwnedFd, streams: [OwnedFd; 3]) {
    let tell = |sign: u8, numbers: &[i32]| {
        let mut message = vec![sign];
        numbers.iter().for_each(|number| message.extend(number.to_le_bytes()));
        let _ = send(control, &message, SendFlags::NOSIGNAL);
    };
    let started = set_child_subreaper(Some(getpid())).map_err(io::Error::from);
    let started = started.and_then(|()| child_signals()).and_then(|signals| {
        let process = start(launch, streams)?;
        Ok((signals, process))
    });
    let (signals, process) = match started {
        Ok(started) => started,
        Err(error) => return tell(b'e', &[error.raw_os_error().unwrap_or(libc::EINVAL)]),
    };
    tell(b's', &[]);
    let status = watch(process, launch, control, &signals);
    let left = end_children(&mut HashSet::new());
    tell(b'x', &[status, left as i32]);
}

/// Starts the process in a group of its own.
fn start(launch: &Launch, streams: [OwnedFd; 3]) -> io::Result<Pid> {
    let [input, output, error] = streams;
    let supervisor = getpid();
    let death = if launch.ends_by_term { Signal::TERM } else { Signal::KILL };
    let mut command = Command::new(&launch.program);
    command.args(&launch.arguments).current_dir(&launch.folder);
    command.env_clear().envs(launch.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(input).stdout(output).stderr(error).process_group(0);
    // SAFETY: these are plain system calls, allowed between fork and exec.
    unsafe {
        command.pre_exec(move || {
            unblock_all()?;
            set_parent_process_death_signal(Some(death))?;
            // If the supervisor died before that, no signal would come.
            match getppid() == Some(supervisor) {
                true => Ok(()),
                false => Err(Errno::PIPE.into()),
            }
        });
    }
    let child = command.spawn()?;
    Ok(Pid::from_child(&child))
}

/// Waits for the process, does what the engine says in the meantime, and returns its wait status.
fn watch(process: Pid, launch: &Launch, control: &OwnedFd, signals: &OwnedFd) -> i32 {
    let mut engine_lives = true;
    let terminate = || {
        let _ = kill_process_group(process, Signal::TERM);
        // A stopped process must continue in order to end.
        let _ = kill_process_group(process, Signal::CONT);
    };
    loop {
        let mut waited = vec![PollFd::new(signals, PollFlags::IN)];
        if engine_lives {
            waited.push(PollFd::new(control, PollFlags::IN));
        }
        let _ = poll(&mut waited, None);
        let says_something = engine_lives && !waited[1].revents().is_empty();
        drain(signals);
        // Also reaps what the stage's processes have left to this one.
        while let Ok(Some((ended, status))) = wait(WaitOptions::NOHANG) {
            if ended == process {
                return status.as_raw();
            }
        }
        if says_something {
            let mut message = [0];
            match receive(control, &mut message) {
                Ok(1..) if message[0] == b'T' => terminate(),
                Ok(1..) => drop(kill_process_group(process, Signal::KILL)),
                _ if launch.ends_by_term => {
                    engine_lives = false;
                    terminate();
                }
                _ => {
                    engine_lives = false;
                    let _ = kill_process_group(process, Signal::KILL);
                }
            }
        }
    }
}

/// Ends all children of this process but these, and what becomes its child when a parent dies, until
/// none is left. Returns how many could not be ended.
pub fn end_children(but: &mut HashSet<Pid>) -> usize {
    let (this, began) = (getpid(), Instant::now());
    loop {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((ended, _))) => drop(but.remove(&ended)),
                Err(Errno::INTR) => {}
                Ok(None) => break,
                // There is no child.
                Err(_) => return 0,
            }
        }
        let left = kill_children(this, but);
        if left == 0 || began.elapsed() > PATIENCE {
            return left;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills the children of a process, each as soon as it is found: one that goes on by making a copy
/// of itself over and over must not get ahead. Only this process reaps its children, so none of
/// their numbers can belong to another process by then. Returns how many there were.
fn kill_children(parent: Pid, but: &HashSet<Pid>) -> usize {
    // In the `/proc` of another space of processes, the numbers would mean others.
    let itself = fs::read_link("/proc/self").ok();
    let listed = itself.filter(|itself| *itself == Path::new(&parent.as_raw_nonzero().to_string()));
    let Some(Ok(entries)) = listed.map(|_| fs::read_dir("/proc")) else { return 1 };
    let mut found = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
        let Some(process) = number.filter(|process| !but.contains(process)) else { continue };
        let Ok(stat) = fs::read(entry.path().join("stat")) else { continue };
        if parent_in(&stat) == Some(parent) {
            found += 1;
            let _ = kill_process(process, Signal::KILL);
        }
    }
    found
}

/// The parent in the text of `/proc/<process>/stat`. The name of the program before it, in
/// parentheses, may contain anything.
fn parent_in(stat: &[u8]) -> Option<Pid> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    Pid::from_raw(rest.split_ascii_whitespace().nth(1)?.parse().ok()?)
}

/// A descriptor that becomes readable when a child ends.
fn child_signals() -> io::Result<OwnedFd> {
    let set = block(&[libc::SIGCHLD])?;
    // SAFETY: a plain system call on a set that lives here. The descriptor is new, and ours alone.
    unsafe {
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

fn drain(signals: &OwnedFd) {
    let mut buffer = [0; 1024];
    while rustix::io::read(signals.as_fd(), &mut buffer).is_ok_and(|read| read > 0) {}
}

#[cfg(test)]
mod tests {
    use rustix::process::Pid;

    use super::parent_in;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        for name in ["sh", "a) S 7 (b", "x y"] {
            let stat = format!("12 ({name}) S 34 12 12 0 -1");
            assert_eq!(parent_in(stat.as_bytes()), Pid::from_raw(34), "{name}");
        }
        assert_eq!(parent_in(b""), None);
    }
}

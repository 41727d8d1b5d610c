//! Faults on demand, for the tests that kill the engine everywhere: [`crate::files::disk`] calls
//! [`around`] for each system call that changes the disk. Without `PIPE_FAULT` that is one
//! relaxed load.
//!
//! | `PIPE_FAULT` | |
//! |---|---|
//! | `N` | kills the process (SIGKILL) at its Nth point: each call has one before and one after it, a write one in its midst |
//! | `N:ENOSPC` | the call at the Nth point fails so, if it is one that can (one that removes needs no space) |
//! | `N+:ENOSPC` | and so do all that come later |
//!
//! `PIPE_FAULT_LOG` names a file that gets a line for each point.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a call needs to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Space on the disk, among other things.
    Space,
    Nothing,
}

/// What is to happen, and when.
struct Fault {
    at: u64,
    and_later: bool,
    /// `None`: the process is killed.
    error: Option<i32>,
    log: Option<File>,
    count: AtomicU64,
}

const UNREAD: u8 = 0;
const UNARMED: u8 = 1;
const ARMED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNREAD);
static FAULT: OnceLock<Option<Fault>> = OnceLock::new();

/// Whether points count at all in this process.
#[inline]
pub fn is_armed() -> bool {
    STATE.load(Ordering::Relaxed) != UNARMED && fault().is_some()
}

/// Makes a call, with a point before it and one after it.
#[inline]
pub fn around<T>(
    name: &str,
    path: &Path,
    needs: Needs,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    if !is_armed() {
        return call();
    }
    point(name, path, Some(needs))?;
    let made = call()?;
    point(name, path, None)?;
    Ok(made)
}

/// One point. `needs` is that of the call to come; `None` after a call, which cannot fail any
/// more.
pub fn point(name: &str, path: &Path, needs: Option<Needs>) -> io::Result<()> {
    let Some(fault) = fault() else { return Ok(()) };
    let count = fault.count.fetch_add(1, Ordering::Relaxed) + 1;
    if let Some(mut log) = fault.log.as_ref() {
        let when = if needs.is_some() { "before" } else { "after" };
        // What cannot be logged is missed by the reader of the log.
        let _ = log.write_all(format!("{count} {when} {name} {}\n", path.display()).as_bytes());
    }
    if count != fault.at && !(fault.and_later && count > fault.at) {
        return Ok(());
    }
    match (fault.error, needs) {
        (None, _) => kill(),
        (Some(libc::ENOSPC), Some(Needs::Nothing)) | (Some(_), None) => Ok(()),
        (Some(error), Some(_)) => Err(io::Error::from_raw_os_error(error)),
    }
}

fn kill() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // The signal has been sent to all threads by the time the call returns.
    std::process::abort()
}

fn fault() -> Option<&'static Fault> {
    let fault = FAULT.get_or_init(|| {
        let fault = std::env::var("PIPE_FAULT").ok().and_then(|text| parse(&text));
        STATE.store(if fault.is_some() { ARMED } else { UNARMED }, Ordering::Relaxed);
        fault
    });
    fault.as_ref()
}

fn parse(text: &str) -> Option<Fault> {
    let (at, error) = match text.split_once(':') {
        None => (text, None),
        Some((at, name)) => (at, Some(errno(name)?)),
    };
    let (at, and_later) = at.strip_suffix('+').map_or((at, false), |at| (at, true));
    let log = std::env::var_os("PIPE_FAULT_LOG");
    let log = log.and_then(|file| File::options().create(true).append(true).open(file).ok());
    Some(Fault { at: at.parse().ok()?, and_later, error, log, count: AtomicU64::new(0) })
}

fn errno(name: &str) -> Option<i32> {
    let known = [
        ("ENOSPC", libc::ENOSPC),
        ("EIO", libc::EIO),
        ("EACCES", libc::EACCES),
        ("EROFS", libc::EROFS),
    ];
    known.into_iter().find(|(known, _)| *known == name).map(|(_, number)| number)
}

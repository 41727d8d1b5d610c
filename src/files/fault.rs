//! Fault injection for tests: they kill the engine, or make a call fail, at any point at which it
//! changes the disk. [`crate::files::disk`] wraps each of these calls in [`around`]. Without
//! `PIPE_FAULT` that costs one relaxed load.
//!
//! The process counts points: one before each call, one after it, and one in the middle of a write.
//!
//! | `PIPE_FAULT` | effect |
//! |---|---|
//! | `N` | SIGKILL at the Nth point |
//! | `N:ENOSPC` | the call at the Nth point fails with this error, if it can (removing needs no space) |
//! | `N+:ENOSPC` | so does every later call |
//!
//! `PIPE_FAULT_LOG` names a file to which each point appends a line.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a call needs to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Space on the disk, so it can fail with `ENOSPC`.
    Space,
    Nothing,
}

/// The fault to inject, and the points at which to do it.
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

/// Whether this process counts points at all.
#[inline]
pub fn is_armed() -> bool {
    STATE.load(Ordering::Relaxed) != UNARMED && fault().is_some()
}

/// Makes a call with a point before it and a point after it. `name` and `path` are for the log.
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

/// Counts one point and injects the fault that is due. `needs` belongs to the call that follows;
/// it is `None` after a call, which can no longer fail.
fn point(name: &str, path: &Path, needs: Option<Needs>) -> io::Result<()> {
    let Some(fault) = fault() else { return Ok(()) };
    let count = fault.count.fetch_add(1, Ordering::Relaxed) + 1;
    if let Some(mut log) = fault.log.as_ref() {
        let when = if needs.is_some() { "before" } else { "after" };
        // The test that reads the log notices a missing line.
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
    // When the call returns, the signal has been sent to all threads.
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

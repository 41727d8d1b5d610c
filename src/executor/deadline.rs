//! `timeout:` ends a stage that takes too long: first with a signal that lets it write a
//! checkpoint, and if it continues anyway, by force.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::executor::Stopper;
use crate::executor::status::Stop;
use crate::files::file_error::FileError;
use crate::files::threads;

/// How long a stage may take to end after it was asked to. A stage whose limit is shorter has as
/// long as its limit.
const GRACE: Duration = Duration::from_secs(10);

/// Calls `work`, which waits for a process, and ends that process through `stopper` after `limit`.
/// Also returns whether the limit was reached.
///
/// # Errors
///
/// If no thread can be started to watch the time. Then the process is ended at once.
pub fn within<T>(
    limit: Option<Duration>,
    stopper: Box<dyn Stopper>,
    work: impl FnOnce() -> T,
) -> Result<(T, bool), FileError> {
    let Some(limit) = limit else { return Ok((work(), false)) };
    let (done, ended) = channel::<()>();
    let timed_out = AtomicBool::new(false);
    let stopper = Mutex::new(stopper);
    let stop = |how| stopper.lock().unwrap_or_else(PoisonError::into_inner).stop(how);
    let result = std::thread::scope(|scope| {
        // The sender is dropped when the work ends, even by a panic.
        let _done = done;
        let (stop, timed_out) = (&stop, &timed_out);
        let watching = threads::spawn_scoped(scope, Path::new("timeout"), move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                timed_out.store(true, Ordering::Relaxed);
                stop(Stop::Politely);
                if ended.recv_timeout(GRACE.min(limit)) == Err(RecvTimeoutError::Timeout) {
                    stop(Stop::Now);
                }
            }
        });
        if watching.is_err() {
            stop(Stop::Now);
        }
        let result = work();
        watching.map(|_| result)
    });
    Ok((result?, timed_out.into_inner()))
}

//! `timeout:` ends a stage that takes too long: first with a signal that lets it write a
//! checkpoint, and if it continues anyway, by force.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::executor::Stopper;
use crate::executor::status::Stop;

/// How long a stage may take to end after it was asked to. A stage whose limit is shorter has as
/// long as its limit.
const GRACE: Duration = Duration::from_secs(10);

/// Calls `work`, which waits for a process, and ends that process through `stopper` after `limit`.
/// Also returns whether the limit was reached.
pub fn within<T>(
    limit: Option<Duration>,
    stopper: Box<dyn Stopper>,
    work: impl FnOnce() -> T,
) -> (T, bool) {
    let Some(limit) = limit else { return (work(), false) };
    let (done, ended) = channel::<()>();
    let timed_out = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let timed_out = &timed_out;
        // The sender is dropped when the work ends, even by a panic.
        scope.spawn(move || {
            if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                timed_out.store(true, Ordering::Relaxed);
                stopper.stop(Stop::Politely);
                if ended.recv_timeout(GRACE.min(limit)) == Err(RecvTimeoutError::Timeout) {
                    stopper.stop(Stop::Now);
                }
            }
        });
        let _done = done;
        work()
    });
    (result, timed_out.into_inner())
}

//! `timeout:` ends a stage that takes too long: politely first, so that it can write a checkpoint,
//! and, if it goes on all the same, by force.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::executor::{Stop, Stopper};

/// How long a stage that was asked to end may take for it. One with a shorter limit has as long
/// as its limit.
const GRACE: Duration = Duration::from_secs(10);

/// Does `work`, which waits for a process, and ends that process by `stopper` after `limit`. Also
/// says whether it came to that.
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
        // The sender is dropped when the work is done, whichever way.
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

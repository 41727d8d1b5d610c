//! Starting threads. The system refuses to when the limit on processes and threads is reached
//! (`ulimit -u`, or `pids.max` of a control group); `std::thread::spawn` would panic.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use crate::files::file_error::FileError;

const STARTING: &str = "starting a thread for";

/// Starts a thread. `purpose` is the file or the stage that it works for.
pub fn spawn<T: Send + 'static>(
    purpose: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, FileError> {
    Builder::new().spawn(work).map_err(FileError::at(STARTING, purpose))
}

/// As [`spawn`], for a thread that ends with a scope.
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    purpose: &Path,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, FileError> {
    Builder::new().spawn_scoped(scope, work).map_err(FileError::at(STARTING, purpose))
}

/// Frees a value of this many parts. If they are many, another thread does it, and nobody waits for
/// it, not even the process when it ends.
pub fn free(parts: usize, value: impl Send + 'static) {
    /// Freeing fewer parts takes less time than starting a thread.
    const MANY: usize = 500;
    if parts >= MANY {
        spawn_or_do(move || drop(value));
    }
}

/// Does work on another thread, without waiting for it; on this thread if no other can be started.
pub fn spawn_or_do(work: impl FnOnce() + Send + 'static) {
    let work = Arc::new(Mutex::new(Some(work)));
    let take = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let theirs = Arc::clone(&work);
    let started = Builder::new().spawn(move || {
        if let Some(work) = take(&theirs) {
            work();
        }
    });
    if started.is_err()
        && let Some(work) = take(&work)
    {
        work();
    }
}

/// Whether the system would start a thread now.
pub fn can_start() -> bool {
    Builder::new().spawn(|| ()).is_ok_and(|thread| thread.join().is_ok())
}

/// Starts the threads that share the hashing of files and other work on all cores: as many as there
/// are cores, or one if the system refuses. Without this, `rayon` would start them at their first
/// use, and panic if it cannot.
///
/// # Errors
///
/// If not even one thread can be started.
pub fn start_pool() -> Result<(), FileError> {
    let build =
        |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    // 0: as many as there are cores, or `RAYON_NUM_THREADS`.
    if build(0).is_ok() || build(1).is_ok() || can_start() {
        return Ok(());
    }
    spawn(Path::new("hashing"), || ()).map(drop)
}

//! Many small transfers at once, each on a thread that spends most of its time waiting.

use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::files::threads;

/// How many objects of one result move at once. The time of a small object is mostly latency.
pub const OBJECTS: usize = 64;

/// How many results move at once.
pub const RESULTS: usize = 16;

/// How many threads all transfers use together.
const THREADS: usize = 96;

static ACTIVE: AtomicUsize = AtomicUsize::new(0);

/// Does `work` for each item, on at most `width` threads. After an error no further item begins,
/// and the first error is returned.
pub fn each<T: Sync, E: Send>(
    items: &[T],
    width: usize,
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    if items.len() < 2 {
        return items.iter().try_for_each(work);
    }
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<E>> = Mutex::new(None);
    let is_failed = || failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    let taken = ACTIVE.load(Ordering::Relaxed).min(THREADS);
    let width = width.min(items.len()).min(THREADS - taken).max(1);
    ACTIVE.fetch_add(width, Ordering::Relaxed);
    let take_turns = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if is_failed() {
                return;
            }
            if let Err(error) = work(item) {
                let mut first = failed.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(error);
            }
        }
    };
    std::thread::scope(|scope| {
        // This thread is one of them, so that something moves even if no other can be started.
        for _ in 1..width {
            if threads::spawn_scoped(scope, Path::new("a transfer"), take_turns).is_err() {
                break;
            }
        }
        take_turns();
    });
    ACTIVE.fetch_sub(width, Ordering::Relaxed);
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

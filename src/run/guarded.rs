//! A thread that the scheduler waits for must always report its end: without that message the run
//! would wait forever.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `work`; a panic becomes an error with the panic's message.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // State that the work left half changed is not used again: its stage fails.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| text(panic.as_ref()))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it gave no message".to_owned())
}

//! A thread that the scheduler waits for must always report its end: without that message the run
//! would wait forever.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stages::stage::panics::message_of;

/// Calls `work`; a panic becomes an error with the panic's message.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // State that the work left half changed is not used again: its stage fails.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| message_of(&*panic).to_owned())
}

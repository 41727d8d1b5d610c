//! Whether the host has sent numbers to a GPU while launches were recorded. CUDA does not refuse that:
//! it records the copy, and each repetition would send the numbers of the recording again.

use std::cell::Cell;

thread_local! {
    static SENT: Cell<bool> = const { Cell::new(false) };
}

/// To be called by whoever sends numbers that differ from batch to batch.
pub fn note() {
    SENT.set(true);
}

/// Whether something was sent since the last call.
pub fn take() -> bool {
    SENT.replace(false)
}

//! A thread that the scheduler waits for must say how it ended, whatever happens in it: without its
//! message the run would wait for ever.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does `work`; a panic in it becomes its message.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // What the work has half changed is not looked at again: its stage fails.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| text(panic.as_ref()))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it gave no message".to_owned())
}

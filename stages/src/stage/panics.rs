//! Panics of libraries, as errors. A library that checks what it is given may still meet a check
//! that panics, for instance on a damaged file or on what a driver answers.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// The result, or what the panic says, without a backtrace and in one line. A panic on this thread prints nothing. What
/// `work` left half changed must not be used afterwards.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    // On a thread that panics the hook cannot be changed.
    let hook = || {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                others(panic);
            }
        }));
    };
    if !std::thread::panicking() {
        HOOK.call_once(hook);
    }
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|panic| in_one_line(message_of(&*panic)))
}

fn in_one_line(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|line| !line.starts_with("Backtrace"));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What a panic says.
pub fn message_of(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it gave no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_causes_and_without_its_backtrace() {
        let said = guarded(|| -> u8 {
            panic!("An IO error happened\nCaused by:\n  out of device memory\nBacktrace:\n 0: main")
        });
        assert_eq!(said, Err("An IO error happened Caused by: out of device memory".to_owned()));
        assert_eq!(guarded(|| 3), Ok(3));
    }
}

//! Panics and long messages of libraries, as errors. A library that checks what it is given may still
//! meet a check that panics, for instance on a damaged file or on what a driver answers.

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
    result.map_err(|panic| causes(message_of(&*panic)))
}

/// What cubecl 0.11.3 says around the causes of a failure: that there are some, where they were found, and what
/// could not be computed for want of a result.
const AROUND_CAUSES: [&str; 9] = [
    "Caused by:",
    "Backtrace:",
    "No backtrace available",
    "Asked at:",
    "An error happened during execution",
    "Several failures at once",
    "The bytes were never written",
    "skipped `",
    "at ", // the place of a frame of a backtrace
];

/// The causes that a message of a library names, each once, in one line and without backtraces.
pub fn causes(message: &str) -> String {
    let is_cause = |line: &&str| {
        let is_left_out = line.starts_with('(') && line.contains("skip record");
        !(line.is_empty()
            || is_left_out
            || is_frame(line)
            || AROUND_CAUSES.iter().any(|start| line.starts_with(start)))
    };
    let mut found: Vec<&str> = Vec::new();
    for line in message.lines().map(str::trim).filter(is_cause) {
        if !found.contains(&line) {
            found.push(line);
        }
    }
    match found.is_empty() {
        true => message.lines().next().unwrap_or_default().to_owned(),
        false => found.join(": "),
    }
}

/// Whether a line is a frame of a backtrace, such as `12: core::panicking::panic`.
fn is_frame(line: &str) -> bool {
    let number = line.split_once(": ").map_or("", |(number, _)| number);
    !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
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
            panic!(
                "An IO error happened\nCaused by:\n  out of device memory\nBacktrace:\n   0: main\n   \
                 at ./main.rs:3:4\n  10: core::ops"
            )
        });
        assert_eq!(said, Err("An IO error happened: out of device memory".to_owned()));
        assert_eq!(guarded(|| 3), Ok(3));
    }

    #[test]
    fn of_failures_that_follow_from_others_only_the_causes_are_told_and_each_once() {
        let one = "The bytes were never written (failure #3, still claiming 2 buffer(s))\n  \
                   skipped `KernelBinop`: it needed memory ManagedMemoryId { value: 8 }, which carried \
                   the failure\n  (72 older skip record(s) were dropped; the walk may stop before the \
                   root)\nCaused by:\n  A launch error happened\nCaused by:\n  The device was \
                   poisoned during launch\nCaused by:\n  cuLaunchKernel failed with status \
                   700\nBacktrace:\nNo backtrace available\nAsked at:\nNo backtrace available\n";
        let message = format!(
            "An error happened during execution\nCaused by:\n  Several failures at once\nCaused \
             by:\n  {one}{one}"
        );
        let expected = "A launch error happened: The device was poisoned during launch: cuLaunchKernel \
                        failed with status 700";
        assert_eq!(causes(&message), expected);
        assert_eq!(causes("Several failures at once"), "Several failures at once");
        assert_eq!(causes("not a number"), "not a number");
    }
}

//! Memory: keeps that of freed tensors for later ones, and knows the words for too little of it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::stage::panics::message_of;

/// Stops glibc from returning large blocks to the kernel at every `free`. A training step frees and
/// allocates hundreds of them; by default the kernel maps and zeroes their pages each time, which
/// takes a quarter of the step (`benches/RESULTS.md`). Peak memory stays the same.
///
/// Does nothing without glibc.
pub fn keep_freed() {
    #[cfg(target_env = "gnu")]
    {
        const SETTINGS: [(libc::c_int, libc::c_int); 3] = [
            (libc::M_MMAP_THRESHOLD, 1 << 30),
            (libc::M_TRIM_THRESHOLD, -1),
            (libc::M_TOP_PAD, 64 << 20),
        ];
        for (setting, value) in SETTINGS {
            // If glibc rejects a setting, only speed is lost.
            // SAFETY: `mallopt` takes any numbers and locks the allocator while it applies them.
            unsafe { libc::mallopt(setting, value) };
        }
    }
}

/// How CUDA, Vulkan and cubecl 0.11.3 (`IoError` and `LaunchError` in `src/server/base.rs`) say that there
/// is not enough memory.
const OUT_OF_MEMORY: [&str; 9] = [
    "out of memory",
    "out_of_memory",
    "outofmemory",
    "out-of-memory",
    "out of device memory",
    "out_of_device_memory",
    "can't allocate ",
    // Of what was to be computed in memory that was not there.
    "was never initialized",
    "was never allocated",
];

/// Whether the message is that of a device without enough memory.
pub fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    OUT_OF_MEMORY.iter().any(|words| message.contains(words))
}

/// Computes on a device, which may panic for want of memory.
///
/// # Errors
/// It has: what it said. Other panics go on.
pub fn within_memory<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| match message_of(&*panic) {
        message if is_out_of_memory(message) => message.to_owned(),
        _ => resume_unwind(panic),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_that_there_is_not_enough_memory_is_understood() {
        for message in [
            "An IO error happened\nCaused by:\n  out of device memory allocating 1024 bytes\n",
            "can't allocate buffer of size: 1024\n",
            "Can't allocate 1024 bytes: every page size the memory tracks still holds live allocations",
            "An out-of-memory error happened during launch\nCaused by:\n  too many\nBacktrace\n",
            "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
            "ERROR_OUT_OF_DEVICE_MEMORY",
            "OutOfMemory",
            "couldn't find resource for that handle: Memory location was never initialized",
            "the buffer was never allocated: the reservation behind it failed",
        ] {
            assert!(is_out_of_memory(message), "{message}");
        }
        assert!(!is_out_of_memory("A compilation error happened during launch"));
    }

    #[test]
    fn a_panic_for_want_of_memory_is_an_error_and_any_other_goes_on() {
        let panics = |message: &'static str| move || std::panic::panic_any(message);
        let message = within_memory::<()>(panics("out of memory: 2 bytes"));
        assert_eq!(message, Err("out of memory: 2 bytes".to_owned()));
        let other = catch_unwind(|| within_memory::<()>(panics("an index"))).unwrap_err();
        assert_eq!(message_of(&*other), "an index");
    }
}

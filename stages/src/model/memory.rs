//! Keeps the memory of freed tensors for the next ones.

/// Tells the C library not to give large blocks back to the kernel at every `free`. It does by
/// default, and a step frees and asks for hundreds of them: each comes back as pages that have to be
/// mapped and zeroed again, a quarter of the time of a training step (`benches/RESULTS.md`). The most
/// memory in use stays the same; it is given back when the process ends.
///
/// Only for glibc; elsewhere it does nothing.
pub fn keep_freed() {
    #[cfg(target_env = "gnu")]
    {
        const SETTINGS: [(libc::c_int, libc::c_int); 3] = [
            (libc::M_MMAP_THRESHOLD, 1 << 30),
            (libc::M_TRIM_THRESHOLD, -1),
            (libc::M_TOP_PAD, 64 << 20),
        ];
        for (setting, value) in SETTINGS {
            // A setting that is refused costs speed and nothing else.
            // SAFETY: `mallopt` takes any numbers and locks the allocator while it applies them.
            unsafe { libc::mallopt(setting, value) };
        }
    }
}

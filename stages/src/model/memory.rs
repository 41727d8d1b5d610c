//! Keeps the memory of freed tensors for later ones.

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

//! The engine under faults: killed or refused at each call that changes the disk, with a damaged
//! store, on a full disk. After each fault the next run is right.
//!
//! `PIPE_KILLS` and `PIPE_DAMAGES` raise the number of faults.

mod damage;
mod full_disk;
mod kill;
mod project;
mod refused;

use tempfile::TempDir;

/// A number from the environment, for the long version of a test.
pub fn number_from(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A temporary folder in memory if possible, where a flush costs nothing.
fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// A small random generator (xorshift64*) with a known seed, so that a failure can be repeated.
pub struct Random(u64);

impl Random {
    /// A new seed each time, printed to standard error, unless `PIPE_SEED` sets it.
    pub fn new() -> Random {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = number_from("PIPE_SEED", now.as_nanos() as usize) as u64 | 1;
        eprintln!("PIPE_SEED={seed}");
        Random(seed)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % bound.max(1)
    }
}

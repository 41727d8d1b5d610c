//! The engine where things go wrong: killed or refused at every call that changes the disk, with
//! a damaged store, on a full disk. After each, the next run is right.
//!
//! The numbers of kills and damages grow with `PIPE_KILLS` and `PIPE_DAMAGES`.

mod damage;
mod full_disk;
mod kill;
mod project;
mod refused;

use tempfile::TempDir;

/// A number from the environment, for the long form of a test.
pub fn number_from(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A temporary folder in memory, if the system has such a place: a flush costs nothing there.
fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap()
}

/// A small generator of its own (xorshift64*), seeded from outside so that failures can name it.
pub struct Random(u64);

impl Random {
    /// Another one each time, said on standard error.
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

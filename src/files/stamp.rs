//! Stamps: a file's size, times and inode, which the index compares instead of its bytes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use rustix::time::{ClockId, clock_getres, clock_gettime};

/// What `stat` reports about a file. Every write changes it, except a write within the same tick
/// of the clock as the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub size: u64,
    pub modified_ns: i64,
    pub changed_ns: i64,
    pub inode: u64,
    pub device: u64,
}

const SECOND: i64 = 1_000_000_000;

impl Stamp {
    pub fn of(metadata: &Metadata) -> Stamp {
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(SECOND).saturating_add(ns);
        Stamp {
            size: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// The numbers in little-endian order.
    pub fn to_bytes(self) -> [u8; 40] {
        let Stamp { size, modified_ns, changed_ns, inode, device } = self;
        let numbers = [size, modified_ns as u64, changed_ns as u64, inode, device];
        let mut bytes = [0; 40];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub fn from_bytes(bytes: &[u8; 40]) -> Stamp {
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[8 * at..8 * at + 8]);
            u64::from_le_bytes(number)
        };
        Stamp {
            size: number(0),
            modified_ns: number(1) as i64,
            changed_ns: number(2) as i64,
            inode: number(3),
            device: number(4),
        }
    }

    /// Whether every later write to the file changes its stamp. A file that was last written in
    /// the tick of the clock in which it was hashed could be written again in that tick and keep
    /// its stamp; git's index has the same problem. `hashed_ns` is [`file_clock_ns`], read before
    /// the file was.
    pub fn is_settled(&self, hashed_ns: i64) -> bool {
        let last = self.modified_ns.max(self.changed_ns);
        let whole_seconds = self.modified_ns % SECOND == 0 && self.changed_ns % SECOND == 0;
        // Some file systems keep whole seconds only; FAT keeps every second one.
        let grain = if whole_seconds { 2 * SECOND } else { tick_ns() };
        last.saturating_add(grain) <= hashed_ns
    }
}

/// The time in nanoseconds since 1970, by the clock with which the kernel stamps files.
pub fn file_clock_ns() -> i64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(SECOND).saturating_add(now.tv_nsec)
}

fn tick_ns() -> i64 {
    // The tick never changes, and every file asks for it.
    static TICK: OnceLock<i64> = OnceLock::new();
    *TICK.get_or_init(|| {
        let tick = clock_getres(ClockId::RealtimeCoarse);
        tick.tv_sec.saturating_mul(SECOND).saturating_add(tick.tv_nsec)
    })
}

#[cfg(test)]
mod tests {
    use crate::files::stamp::{SECOND, Stamp, tick_ns};

    fn written_at(ns: i64) -> Stamp {
        Stamp { size: 1, modified_ns: ns, changed_ns: ns, inode: 1, device: 1 }
    }

    #[test]
    fn a_file_hashed_in_the_tick_of_its_last_write_is_not_settled() {
        let written = 1_700_000_000 * SECOND + 123_456_789;
        assert!(!written_at(written).is_settled(written));
        assert!(!written_at(written).is_settled(written + tick_ns() - 1));
        assert!(written_at(written).is_settled(written + tick_ns()));
        // Users can set the modification time back, but not the time of the last change.
        let set_back = Stamp { modified_ns: 1, ..written_at(written) };
        assert!(!set_back.is_settled(written));
    }

    #[test]
    fn whole_seconds_are_a_coarser_grain() {
        let written = 1_700_000_000 * SECOND;
        assert!(!written_at(written).is_settled(written + SECOND));
        assert!(written_at(written).is_settled(written + 2 * SECOND));
    }
}

//! A file's size, times and inode: what the index compares in place of its bytes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use rustix::time::{ClockId, clock_getres, clock_gettime};

/// What `stat` says of a file. Any write changes it, but for one within the clock's grain.
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

    /// Whether a later write to the file is sure to show in its stamp. As in git's index: a file
    /// that was last written in the same tick of the clock in which it was hashed may be written
    /// once more in that tick, and look the same. `hashed_ns` is from [`file_clock_ns`], taken
    /// before the file was read.
    pub fn is_settled(&self, hashed_ns: i64) -> bool {
        let last = self.modified_ns.max(self.changed_ns);
        let whole_seconds = self.modified_ns % SECOND == 0 && self.changed_ns % SECOND == 0;
        // File systems that keep whole seconds round down, FAT to two of them.
        let grain = if whole_seconds { 2 * SECOND } else { tick_ns() };
        last.saturating_add(grain) <= hashed_ns
    }
}

/// Now, by the clock from which the kernel stamps files.
pub fn file_clock_ns() -> i64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(SECOND).saturating_add(now.tv_nsec)
}

fn tick_ns() -> i64 {
    // It is asked for each file, and stays the same.
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
        // Modification times can be set back; the time of the change cannot.
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

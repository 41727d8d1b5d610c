//! The pace of a transfer. A server that sends a byte now and then is never silent, so a limit on
//! silence alone would wait for it without end.

use std::io::{self, Read};
use std::time::{Duration, Instant};

/// A transfer that brings fewer bytes than this per second, over a whole window, is given up. Gigabytes
/// may still take days.
const SLOWEST: u64 = 1024;

/// Counts the bytes of a transfer in windows of time.
pub struct Pace {
    window: Duration,
    since: Instant,
    bytes: u64,
}

/// The transfer was too slow for this long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("less than 1 KiB a second came for {}", humantime::format_duration(*.0))]
pub struct TooSlow(pub Duration);

impl Pace {
    pub fn new(window: Duration) -> Pace {
        Pace { window, since: Instant::now(), bytes: 0 }
    }

    /// Counts bytes that have arrived.
    pub fn count(&mut self, bytes: u64) -> Result<(), TooSlow> {
        self.bytes += bytes;
        let elapsed = self.since.elapsed();
        if elapsed < self.window {
            return Ok(());
        }
        let wanted = SLOWEST as f64 * elapsed.as_secs_f64();
        let enough = self.bytes as f64 >= wanted;
        (self.since, self.bytes) = (Instant::now(), 0);
        if enough { Ok(()) } else { Err(TooSlow(self.window)) }
    }
}

/// A reader that fails with [`TooSlow`] inside an [`io::Error`].
pub struct Paced<R> {
    reader: R,
    pace: Pace,
}

impl<R: Read> Paced<R> {
    pub fn new(reader: R, window: Duration) -> Paced<R> {
        Paced { reader, pace: Pace::new(window) }
    }
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count > 0 {
            self.pace.count(count as u64).map_err(io::Error::other)?;
        }
        Ok(count)
    }
}

/// The reason why a [`Paced`] reader failed, if it was its pace.
pub fn too_slow(error: &io::Error) -> Option<TooSlow> {
    error.get_ref()?.downcast_ref().copied()
}

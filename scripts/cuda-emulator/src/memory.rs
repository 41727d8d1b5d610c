//! Memory of the device, which is memory of the host.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use crate::lock;

/// Allocations by their starts.
struct Allocated {
    /// With their lengths, which need not be whole pages.
    device: BTreeMap<u64, (u64, Box<[Page]>)>,
    /// Pinned memory of the host, which copies read when they are made and not when they are asked for.
    pinned: BTreeMap<u64, Box<[Page]>>,
    /// The ends of `device` by their starts, as long as nothing changes.
    ranges: Option<Arc<Ranges>>,
    /// The lengths of `device` together.
    used: usize,
}

/// Memory of a GPU begins at a multiple of 512 bytes.
#[derive(Clone, Copy)]
#[repr(align(512))]
struct Page(#[expect(dead_code, reason = "read and written through pointers")] [u8; 512]);

static ALLOCATED: LazyLock<Mutex<Allocated>> = LazyLock::new(|| {
    Mutex::new(Allocated {
        device: BTreeMap::new(),
        pinned: BTreeMap::new(),
        ranges: None,
        used: 0,
    })
});

/// All that a launch may touch.
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub fn contain(&self, start: u64, end: u64) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= start);
        after > 0 && end <= self.0[after - 1].1
    }
}

pub fn ranges() -> Arc<Ranges> {
    let allocated = &mut *lock(&ALLOCATED);
    let device = &allocated.device;
    let all = || device.iter().map(|(start, (length, _))| (*start, start + length)).collect();
    allocated.ranges.get_or_insert_with(|| Arc::new(Ranges(all()))).clone()
}

/// Reserves memory whose bytes are all ones, which is NaN, as nothing promises that it is zero.
fn reserve(bytes: usize) -> (u64, Box<[Page]>) {
    let pages = vec![Page([0xff; 512]); bytes.div_ceil(512).max(1)].into_boxed_slice();
    (pages.as_ptr() as u64, pages)
}

/// The memory of the device, in bytes.
pub const MOST: usize = 16 << 30;

/// Bytes that are allocated.
pub fn used() -> usize {
    lock(&ALLOCATED).used
}

/// `None` if there is not so much left.
pub fn allocate(bytes: usize) -> Option<u64> {
    let allocated = &mut *lock(&ALLOCATED);
    if bytes > MOST - allocated.used {
        return None;
    }
    let (start, pages) = reserve(bytes);
    allocated.device.insert(start, (bytes as u64, pages));
    allocated.used += bytes;
    allocated.ranges = None;
    Some(start)
}

/// Whether there was memory at `start`.
pub fn free(start: u64) -> bool {
    let allocated = &mut *lock(&ALLOCATED);
    let Some((length, _)) = allocated.device.remove(&start) else { return false };
    allocated.used -= length as usize;
    allocated.ranges = None;
    true
}

pub fn allocate_pinned(bytes: usize) -> u64 {
    let (start, pages) = reserve(bytes);
    lock(&ALLOCATED).pinned.insert(start, pages);
    start
}

pub fn free_pinned(start: u64) -> bool {
    lock(&ALLOCATED).pinned.remove(&start).is_some()
}

pub fn is_pinned(start: u64, bytes: usize) -> bool {
    let allocated = lock(&ALLOCATED);
    let found = allocated.pinned.range(..=start).next_back();
    found.is_some_and(|(from, pages)| start + bytes as u64 <= from + pages.len() as u64 * 512)
}

/// Whether all of it is memory of the device.
pub fn is_device(start: u64, bytes: usize) -> bool {
    ranges().contain(start, start.saturating_add(bytes as u64))
}

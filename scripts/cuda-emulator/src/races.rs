//! Whether two threads of a launch touch the same memory in no order, where one of them writes.
//!
//! What two threads of a block do is ordered by a barrier of the block between, or, in one warp, by `bar.warp.sync`. What two
//! blocks do is never ordered. The order in which a GPU runs lanes and warps is not relied on.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Bytes that are watched as one.
const UNIT: u64 = 2;
/// Units of a page of records.
const PAGE: u64 = 2048;

/// Who touched something, and when.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Visit {
    /// Zero: nobody so far.
    pub launch: u32,
    pub block: u32,
    pub warp: u16,
    pub by: By,
    /// The barriers that the block and the warp had passed.
    pub barriers: u32,
    pub warp_barriers: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum By {
    Lane(u8),
    /// Several lanes of the warp, or an instruction of all of them.
    #[default]
    Warp,
    /// Several warps of a block.
    Warps,
    /// Several blocks.
    Blocks,
}

impl Visit {
    /// Whether `self` may happen at the same time as `earlier`.
    fn meets(&self, earlier: &Visit) -> bool {
        if earlier.launch != self.launch {
            return false;
        }
        if earlier.by == By::Blocks || earlier.block != self.block {
            return true;
        }
        if earlier.barriers < self.barriers {
            return false;
        }
        if earlier.by == By::Warps || earlier.warp != self.warp {
            return true;
        }
        earlier.warp_barriers == self.warp_barriers
            && !(earlier.by == self.by && matches!(self.by, By::Lane(_)))
    }

    /// Both as one, of which something later must be told apart.
    fn with(mut self, earlier: &Visit) -> Visit {
        if earlier.launch != self.launch || *earlier == self {
            return self;
        }
        if earlier.by == By::Blocks || earlier.block != self.block {
            self.by = By::Blocks;
        } else if earlier.barriers == self.barriers {
            if earlier.warp != self.warp || earlier.by == By::Warps {
                self.by = By::Warps;
            } else if earlier.warp_barriers == self.warp_barriers {
                self.by = if earlier.by == self.by { self.by } else { By::Warp };
            }
        }
        self
    }
}

#[derive(Clone, Copy, Default)]
struct Visits {
    read: Visit,
    written: Visit,
    /// The launch that has read it as something that does not change (`ld.global.nc`).
    constant: u32,
}

/// What was touched, of one memory.
#[derive(Default)]
pub struct Races {
    pages: HashMap<u64, Box<[Visits]>, BuildHasherDefault<Numbers>>,
}

impl Races {
    pub fn read(&mut self, address: u64, bytes: u64, visit: Visit) -> Result<(), &'static str> {
        self.each(address, bytes, |visits| {
            let raced = visit.meets(&visits.written);
            visits.read = visit.with(&visits.read);
            if raced {
                Err("reads what another thread writes, without a barrier between")
            } else {
                Ok(())
            }
        })
    }

    /// A read that may give what was there before the launch.
    pub fn read_constant(
        &mut self,
        address: u64,
        bytes: u64,
        launch: u32,
    ) -> Result<(), &'static str> {
        self.each(address, bytes, |visits| {
            visits.constant = launch;
            match visits.written.launch == launch {
                true => Err("reads what its launch writes as if it were constant"),
                false => Ok(()),
            }
        })
    }

    pub fn write(&mut self, address: u64, bytes: u64, visit: Visit) -> Result<(), &'static str> {
        self.each(address, bytes, |visits| {
            let (written, read) = (visit.meets(&visits.written), visit.meets(&visits.read));
            visits.written = visit;
            match (written, read) {
                _ if visits.constant == visit.launch => {
                    Err("writes what its launch reads as if it were constant")
                }
                (true, _) => Err("writes what another thread writes, without a barrier between"),
                (_, true) => Err("writes what another thread reads, without a barrier between"),
                _ => Ok(()),
            }
        })
    }

    /// All units of an access, which is aligned and so in one page.
    fn each(
        &mut self,
        address: u64,
        bytes: u64,
        mut at: impl FnMut(&mut Visits) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        let units = address / UNIT..(address + bytes).div_ceil(UNIT);
        let page = self
            .pages
            .entry(units.start / PAGE)
            .or_insert_with(|| vec![Visits::default(); PAGE as usize].into());
        let first = (units.start % PAGE) as usize;
        page.iter_mut().skip(first).take((units.end - units.start) as usize).try_for_each(&mut at)
    }
}

/// Numbers of pages are spread as they are.
#[derive(Default)]
struct Numbers(u64);

impl Hasher for Numbers {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

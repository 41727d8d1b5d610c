//! How the lanes of a warp read and write memory, and the memories that they see.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::kernel::{Access, Kernel, Space};
use crate::lanes::{Lanes, Wide};
use crate::memory::Ranges;
use crate::races::{By, Races, Visit};
use crate::warp::{Warp, bits};

type Fault = String;

/// What all blocks of a launch have in common.
pub struct Launch<'a> {
    pub kernel: &'a Kernel,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub parameters: &'a [u8],
    /// Bytes of shared memory.
    pub shared: usize,
    pub number: u32,
    pub ranges: &'a Ranges,
}

/// The memories that a block sees.
pub struct Memories<'a> {
    pub launch: &'a Launch<'a>,
    pub block: u32,
    pub shared: Vec<u64>,
    /// In shared and in global memory.
    pub races: Option<[Races; 2]>,
    pub barriers: u32,
}

impl Warp {
    /// The address that a lane uses.
    pub fn address(&self, access: &Access, lane: usize) -> u64 {
        access
            .base
            .map_or(0, |base| self.wides[usize::from(base)].0[lane])
            .wrapping_add(access.offset)
    }

    /// The addresses of all lanes, and where they are on the host: the distance from one to the other.
    fn addresses(
        &self,
        access: &Access,
        mask: u32,
        writes: bool,
        memories: &mut Memories,
    ) -> Result<([u64; 32], u64), Fault> {
        let length = access.bytes * access.registers.len();
        let base = access.base.map_or([0; 32], |base| self.wides[usize::from(base)].0);
        let mut addresses = base.map(|base| base.wrapping_add(access.offset));
        // Those that do nothing are where the first of the others is.
        let first = addresses[mask.trailing_zeros() as usize];
        (0..32).filter(|lane| mask >> lane & 1 == 0).for_each(|lane| addresses[lane] = first);
        if memories.races.is_some() {
            for lane in bits(mask) {
                if access.is_constant {
                    memories.visit_constant(addresses[lane], length)?;
                }
                let visit = self.visited(By::Lane(lane as u8), memories);
                memories.visit(access.space, addresses[lane], length, visit, writes)?;
            }
        }
        let (mut all, mut least, mut most) = (0, u64::MAX, 0);
        for address in addresses {
            (all, least, most) = (all | address, least.min(address), most.max(address));
        }
        let span = usize::try_from(most - least).ok().and_then(|span| span.checked_add(length));
        match span.map(|span| memories.at(access.space, least, span, 1)) {
            Some(Ok(start)) if all % length as u64 == 0 => {
                Ok((addresses, (start as u64).wrapping_sub(least)))
            }
            // Some address is wrong, or they are in several allocations.
            _ => {
                for address in addresses {
                    memories.at(access.space, address, length, length)?;
                }
                match access.space {
                    Space::Global => Ok((addresses, 0)),
                    _ => Err("addresses all over the memory of a block".into()),
                }
            }
        }
    }

    pub(crate) fn load(
        &mut self,
        access: &Access,
        mask: u32,
        memories: &mut Memories,
    ) -> Result<(), Fault> {
        let (addresses, distance) = self.addresses(access, mask, false, memories)?;
        for (nth, register) in access.registers.iter().enumerate() {
            let from = |lane: usize| {
                addresses[lane].wrapping_add(distance).wrapping_add((nth * access.bytes) as u64)
            };
            // SAFETY: `addresses` has seen that these bytes are there.
            let read = |lane: usize| unsafe {
                match access.bytes {
                    8 => (from(lane) as *const u64).read_unaligned(),
                    4 => (from(lane) as *const u32).read_unaligned().into(),
                    2 => (from(lane) as *const u16).read_unaligned().into(),
                    _ => (from(lane) as *const u8).read().into(),
                }
            };
            match (access.is_wide, access.bytes) {
                (true, _) => self.set_wide(*register, Wide(std::array::from_fn(read)), mask),
                // SAFETY: the same.
                (false, 4) => self.set(
                    *register,
                    Lanes(std::array::from_fn(|lane| unsafe {
                        (from(lane) as *const u32).read_unaligned()
                    })),
                    mask,
                ),
                (false, _) => {
                    self.set(*register, Lanes(std::array::from_fn(|lane| read(lane) as u32)), mask)
                }
            }
        }
        Ok(())
    }

    pub(crate) fn store(
        &mut self,
        access: &Access,
        mask: u32,
        memories: &mut Memories,
    ) -> Result<(), Fault> {
        let (addresses, distance) = self.addresses(access, mask, true, memories)?;
        for lane in bits(mask) {
            for (nth, register) in
                access.registers.iter().map(|register| usize::from(*register)).enumerate()
            {
                let to = addresses[lane]
                    .wrapping_add(distance)
                    .wrapping_add((nth * access.bytes) as u64);
                let value = match access.is_wide {
                    true => self.wides[register].0[lane],
                    false => self.words[register].0[lane].into(),
                };
                // SAFETY: `addresses` has seen that these bytes are there.
                unsafe {
                    match access.bytes {
                        8 => (to as *mut u64).write_unaligned(value),
                        4 => (to as *mut u32).write_unaligned(value as u32),
                        2 => (to as *mut u16).write_unaligned(value as u16),
                        _ => (to as *mut u8).write(value as u8),
                    }
                }
            }
        }
        Ok(())
    }

    /// Lanes add one after the other. A GPU has no order: several to one place are a race.
    pub(crate) fn add(
        &mut self,
        access: &Access,
        value: u16,
        mask: u32,
        memories: &mut Memories,
    ) -> Result<(), Fault> {
        for lane in bits(mask) {
            let address = self.address(access, lane);
            memories.visit(
                access.space,
                address,
                4,
                self.visited(By::Lane(lane as u8), memories),
                true,
            )?;
            let at = memories.at(access.space, address, 4, 4)?.cast::<AtomicU32>();
            let value = f32::from_bits(self.words[usize::from(value)].0[lane]);
            // SAFETY: `at` has seen that these bytes are there, and aligned.
            let before =
                unsafe { &*at }.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
                    Some((f32::from_bits(before) + value).to_bits())
                });
            self.words[usize::from(access.registers[0])].0[lane] = before.unwrap_or_default();
        }
        Ok(())
    }
}

impl Memories<'_> {
    /// Where the `length` bytes at `address` are, which must begin at a multiple of `align`.
    pub fn at(
        &mut self,
        space: Space,
        address: u64,
        length: usize,
        align: usize,
    ) -> Result<*mut u8, Fault> {
        if !address.is_multiple_of(align as u64) {
            return Err(format!(
                "{length} bytes of {space:?} memory at {address:#x}, which is not aligned"
            ));
        }
        let end = address.checked_add(length as u64).ok_or("an address beyond all memory")?;
        match space {
            Space::Global if self.launch.ranges.contain(address, end) => Ok(address as *mut u8),
            Space::Shared if end <= self.launch.shared as u64 => {
                Ok(self.shared.as_mut_ptr().cast::<u8>().wrapping_add(address as usize))
            }
            Space::Parameters if end <= self.launch.parameters.len() as u64 => {
                Ok(self.launch.parameters.as_ptr().wrapping_add(address as usize).cast_mut())
            }
            _ => Err(format!(
                "{length} bytes of {space:?} memory at {address:#x}, where there is none"
            )),
        }
    }

    fn visit_constant(&mut self, address: u64, length: usize) -> Result<(), Fault> {
        let launch = self.launch.number;
        let Some([_, global]) = &mut self.races else { return Ok(()) };
        let seen = global.read_constant(address, length as u64, launch);
        seen.map_err(|why| format!("a thread {why} (at {address:#x})"))
    }

    pub fn visit(
        &mut self,
        space: Space,
        address: u64,
        length: usize,
        visit: Visit,
        writes: bool,
    ) -> Result<(), Fault> {
        let Some(races) = &mut self.races else { return Ok(()) };
        let races = match space {
            Space::Shared => &mut races[0],
            Space::Global => &mut races[1],
            Space::Parameters => return Ok(()),
        };
        let seen = if writes {
            races.write(address, length as u64, visit)
        } else {
            races.read(address, length as u64, visit)
        };
        let lane = match visit.by {
            By::Lane(lane) => format!("lane {lane} of warp {}", visit.warp),
            _ => format!("warp {}", visit.warp),
        };
        seen.map_err(|why| format!("{lane} {why} ({space:?} memory at {address:#x})"))
    }
}

//! The gradient of an embedding table: lines of a gradient summed by the entry that each was read
//! from, in a fixed order and without atomic additions.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::section::Section;
use super::{UNITS, empty, grid, per_unit};

/// Lines per partial sum: an entry may have all lines, and a cube adds its lines one by one.
const LINES: usize = 32;

/// Which lines belong to which entry, on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The lines, by entry and then ascending.
    lines: Vec<u32>,
    /// The start of each piece of at most [`LINES`] in `lines`, and the end of the last one.
    pieces: Vec<u32>,
    /// The first piece of each entry, and the end of the last one.
    firsts: Vec<u32>,
    /// The entries that have lines, ascending.
    entries: Vec<u32>,
}

/// The most numbers that the plans for batches of one shape have, so that those of one take the
/// place of those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Room {
    lines: usize,
    pieces: usize,
    entries: usize,
}

impl Plan {
    /// The plan for lines that were read from `entries`, in the order of the lines.
    pub(super) fn new(entries: &[i32]) -> Plan {
        let mut lines: Vec<u32> = (0..entries.len() as u32).collect();
        lines.sort_by_key(|line| entries[*line as usize]);
        let mut plan = Plan::default();
        for (at, line) in lines.iter().enumerate() {
            let entry = entries[*line as usize] as u32;
            let is_new = plan.entries.last() != Some(&entry);
            let is_full = || at as u32 - plan.pieces[plan.pieces.len() - 1] == LINES as u32;
            let starts_piece = is_new || is_full();
            if is_new {
                plan.firsts.push(plan.pieces.len() as u32);
                plan.entries.push(entry);
            }
            if starts_piece {
                plan.pieces.push(at as u32);
            }
        }
        plan.firsts.push(plan.pieces.len() as u32);
        plan.pieces.push(lines.len() as u32);
        plan.lines = lines;
        plan
    }

    /// The plan as the kernels read it: the numbers of pieces and of entries, then the four lists,
    /// each padded to its room.
    pub(super) fn numbers(&self, room: Room) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(room.numbers());
        numbers.extend([self.pieces.len() as u32 - 1, self.entries.len() as u32]);
        let lists = [
            (&self.lines, room.lines),
            (&self.pieces, room.pieces + 1),
            (&self.firsts, room.entries + 1),
            (&self.entries, room.entries),
        ];
        for (list, room) in lists {
            assert!(list.len() <= room, "a plan of {} numbers in {room}", list.len());
            numbers.extend_from_slice(list);
            numbers.resize(numbers.len() + room - list.len(), 0);
        }
        numbers
    }
}

impl Room {
    /// For `lines` lines from at most `entries` entries.
    pub(super) fn new(lines: usize, entries: usize) -> Room {
        let entries = entries.min(lines);
        // Each entry has at most one piece that is not full.
        Room { lines, pieces: (entries + lines / LINES).min(lines), entries }
    }

    pub(super) fn numbers(self) -> usize {
        2 + self.lines + (self.pieces + 1) + (self.entries + 1) + self.entries
    }

    /// The gradient of a table of `entries` entries, `[entries, width]`, from that of the lines,
    /// `[lines, width]`. `plan` holds the [`numbers`](Plan::numbers) of a plan with this room.
    pub(super) fn table(
        self,
        plan: &Section,
        gradient: &CubeTensor,
        entries: usize,
        width: usize,
    ) -> CubeTensor {
        let shape = [entries, width].into();
        let device = gradient.device.clone();
        let table = burn_cubecl::ops::numeric::zeros(device, shape, DType::F32);
        let partial = empty(gradient, [self.pieces, width], DType::F32);
        let first_line = plan.start + 2;
        let first_piece = first_line + self.lines as u32;
        let first_of = first_piece + self.pieces as u32 + 1;
        let first_entry = first_of + self.entries as u32 + 1;
        // SAFETY: the plan holds lines of the gradient and entries of the table, and says how many;
        // cubes beyond it and units beyond `width` do nothing.
        unsafe {
            pieces_kernel::launch_unchecked(
                &gradient.client,
                grid(self.pieces),
                CubeDim::new_1d(UNITS),
                gradient.clone().into_buffer_arg(),
                plan.buffer(),
                partial.clone().into_buffer_arg(),
                plan.start,
                first_line,
                first_piece,
                width,
            );
            entries_kernel::launch_unchecked(
                &gradient.client,
                grid(self.entries),
                CubeDim::new_1d(UNITS),
                partial.into_buffer_arg(),
                plan.buffer(),
                table.clone().into_buffer_arg(),
                plan.start + 1,
                first_of,
                first_entry,
                width,
            );
        }
        table
    }
}

#[cube(launch_unchecked)]
fn pieces_kernel(
    gradient: &[f32],
    plan: &[u32],
    partial: &mut [f32],
    pieces: u32,
    first_line: u32,
    first_piece: u32,
    #[comptime] width: usize,
) {
    let piece = CUBE_POS as usize;
    if piece < plan[pieces as usize] as usize {
        let start = plan[first_piece as usize + piece] as usize;
        let end = plan[first_piece as usize + piece + 1] as usize;
        #[unroll]
        for at in 0..comptime!(per_unit(width)) {
            let feature = at * UNITS as usize + UNIT_POS as usize;
            if feature < width {
                let mut sum = 0.0f32;
                for nth in start..end {
                    sum += gradient[plan[first_line as usize + nth] as usize * width + feature];
                }
                partial[piece * width + feature] = sum;
            }
        }
    }
}

#[cube(launch_unchecked)]
fn entries_kernel(
    partial: &[f32],
    plan: &[u32],
    table: &mut [f32],
    entries: u32,
    first_of: u32,
    first_entry: u32,
    #[comptime] width: usize,
) {
    let nth = CUBE_POS as usize;
    if nth < plan[entries as usize] as usize {
        let start = plan[first_of as usize + nth] as usize;
        let end = plan[first_of as usize + nth + 1] as usize;
        let entry = plan[first_entry as usize + nth] as usize;
        #[unroll]
        for at in 0..comptime!(per_unit(width)) {
            let feature = at * UNITS as usize + UNIT_POS as usize;
            if feature < width {
                let mut sum = 0.0f32;
                for piece in start..end {
                    sum += partial[piece * width + feature];
                }
                table[entry * width + feature] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_grouped_by_entry_and_cut_into_pieces() {
        let mut entries = vec![7, 2, 7, 5];
        entries.extend([9; 40]);
        let plan = Plan::new(&entries);
        assert_eq!(plan.entries, [2, 5, 7, 9]);
        assert_eq!(plan.lines[..4], [1, 3, 0, 2]);
        assert_eq!(plan.pieces, [0, 1, 2, 4, 36, 44]);
        assert_eq!(plan.firsts, [0, 1, 2, 3, 5]);
    }

    #[test]
    fn every_plan_has_room_for_its_numbers() {
        // As many pieces as possible: entries of one line more than full pieces have.
        for (entries, lines_of_each) in [(3, 1), (3, 32), (3, 33), (40, 65), (1, 200), (200, 1)] {
            let read_from: Vec<i32> =
                (0..entries).flat_map(|entry| vec![entry; lines_of_each]).collect();
            let room = Room::new(read_from.len(), entries as usize);
            let numbers = Plan::new(&read_from).numbers(room);
            assert_eq!(numbers.len(), room.numbers());
            let pieces = entries as usize * lines_of_each.div_ceil(LINES);
            assert_eq!(numbers[..2], [pieces as u32, entries as u32]);
        }
    }
}

//! The gradient of an embedding table: lines of a gradient summed by the entry that each was read
//! from, in a fixed order and without atomic additions.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::section::Section;
use super::{UNITS, empty, grid, per_unit, zeros};

/// Lines per partial sum: an entry may have all lines, and a cube adds its lines one by one.
const LINES: usize = 32;

/// Which lines belong to which entry, on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The lines, by entry and then ascending.
    lines: Vec<u32>,
    /// The start of each piece of at most [`LINES`] in `lines`, and the end of the last one.
    pieces: Vec<u32>,
    /// The first piece of each entry that has lines, ascending, and the end of the last one.
    firsts: Vec<u32>,
}

/// The most numbers that the plans for batches of one shape have, so that those of one take the
/// place of those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Room {
    lines: usize,
    pieces: usize,
    entries: usize,
    /// Whether the table has a single entry. Then no line needs to be listed.
    is_single: bool,
}

impl Plan {
    /// The plan for lines that were read from `entries`, in the order of the lines.
    pub(super) fn new(entries: &[i32]) -> Plan {
        let mut lines: Vec<u32> = (0..entries.len() as u32).collect();
        lines.sort_by_key(|line| entries[*line as usize]);
        let mut plan = Plan::default();
        let mut last = None;
        for (at, line) in lines.iter().enumerate() {
            let entry = Some(entries[*line as usize]);
            let is_new = last != entry;
            last = entry;
            let is_full = || at as u32 - plan.pieces[plan.pieces.len() - 1] == LINES as u32;
            let starts_piece = is_new || is_full();
            if is_new {
                plan.firsts.push(plan.pieces.len() as u32);
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

    /// The plan as the kernels read it: the numbers of pieces and of entries, then the lists, each
    /// padded to its room.
    pub(super) fn numbers(&self, room: Room) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(room.numbers());
        numbers.extend([&self.pieces, &self.firsts].map(|list| list.len() as u32 - 1));
        let lines: &[u32] = if room.is_single { &[] } else { &self.lines };
        let lists = [
            (lines, room.listed()),
            (&self.pieces, room.pieces + 1),
            (&self.firsts, room.entries + 1),
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
        let is_single = entries == 1;
        let entries = entries.min(lines);
        // Each entry has at most one piece that is not full.
        Room { lines, pieces: (entries + lines / LINES).min(lines), entries, is_single }
    }

    pub(super) fn numbers(self) -> usize {
        2 + self.listed() + (self.pieces + 1) + (self.entries + 1)
    }

    fn listed(self) -> usize {
        if self.is_single { 0 } else { self.lines }
    }

    /// The gradient of a table of `entries` entries, `[entries, width]`, from that of the lines,
    /// `[lines, width]`. `plan` holds the [`numbers`](Plan::numbers) of a plan with this room, and the
    /// same buffer the entry of each line, from `entry_of` on.
    pub(super) fn table(
        self,
        plan: &Section,
        entry_of: u32,
        gradient: &CubeTensor,
        [entries, width]: [usize; 2],
    ) -> CubeTensor {
        let table = zeros(gradient, [entries, width].into());
        let partial = empty(gradient, [self.pieces, width], DType::F32);
        let first_line = plan.start + 2;
        let first_piece = first_line + self.listed() as u32;
        let first_of = first_piece + self.pieces as u32 + 1;
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
                self.is_single,
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
                first_piece,
                first_line,
                entry_of,
                width,
                self.is_single,
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
    #[comptime] is_single: bool,
) {
    let piece = CUBE_POS;
    if piece < plan[pieces as usize] as usize {
        let start = plan[first_piece as usize + piece] as usize;
        let end = plan[first_piece as usize + piece + 1] as usize;
        let sums = sum_of_lines(
            gradient,
            plan,
            first_line as usize,
            start,
            end,
            width,
            comptime!(!is_single),
        );
        write(&sums, partial, piece * width, width);
    }
}

#[cube(launch_unchecked)]
fn entries_kernel(
    partial: &[f32],
    plan: &[u32],
    table: &mut [f32],
    entries: u32,
    first_of: u32,
    first_piece: u32,
    first_line: u32,
    entry_of: u32,
    #[comptime] width: usize,
    #[comptime] is_single: bool,
) {
    let nth = CUBE_POS;
    if nth < plan[entries as usize] as usize {
        let start = plan[first_of as usize + nth] as usize;
        let end = plan[first_of as usize + nth + 1] as usize;
        let mut entry = 0usize;
        if comptime!(!is_single) {
            // That of the first line.
            let line = plan[first_line as usize + plan[first_piece as usize + start] as usize];
            entry = plan[entry_of as usize + line as usize] as usize;
        }
        let sums = sum_of_lines(partial, plan, 0usize, start, end, width, false);
        write(&sums, table, entry * width, width);
    }
}

/// The sum of the lines `start..end`, or of those that the plan lists there, for the features of this
/// unit. Four are read at a time, so that a unit does not wait for each.
#[cube]
fn sum_of_lines(
    from: &[f32],
    plan: &[u32],
    listed_from: usize,
    start: usize,
    end: usize,
    #[comptime] width: usize,
    #[comptime] is_listed: bool,
) -> Array<f32> {
    let mut sums = Array::<f32>::new(comptime!(per_unit(width)));
    #[unroll]
    for at in 0..comptime!(per_unit(width)) {
        sums[at] = 0.0f32;
    }
    let mut nth = start;
    while nth + 3 < end {
        let one = line_at(plan, listed_from, nth, is_listed) * width;
        let two = line_at(plan, listed_from, nth + 1, is_listed) * width;
        let three = line_at(plan, listed_from, nth + 2, is_listed) * width;
        let four = line_at(plan, listed_from, nth + 3, is_listed) * width;
        #[unroll]
        for at in 0..comptime!(per_unit(width)) {
            let feature = at * UNITS as usize + UNIT_POS as usize;
            if feature < width {
                let first_two = from[one + feature] + from[two + feature];
                sums[at] += first_two + (from[three + feature] + from[four + feature]);
            }
        }
        nth += 4;
    }
    while nth < end {
        let line = line_at(plan, listed_from, nth, is_listed) * width;
        #[unroll]
        for at in 0..comptime!(per_unit(width)) {
            let feature = at * UNITS as usize + UNIT_POS as usize;
            if feature < width {
                sums[at] += from[line + feature];
            }
        }
        nth += 1;
    }
    sums
}

#[cube]
fn line_at(plan: &[u32], listed_from: usize, nth: usize, #[comptime] is_listed: bool) -> usize {
    let mut line = nth;
    if comptime!(is_listed) {
        line = plan[listed_from + nth] as usize;
    }
    line
}

/// Writes the features of this unit from `start` on.
#[cube]
fn write(sums: &Array<f32>, to: &mut [f32], start: usize, #[comptime] width: usize) {
    #[unroll]
    for at in 0..comptime!(per_unit(width)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < width {
            to[start + feature] = sums[at];
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

    #[test]
    fn a_table_of_one_entry_needs_no_list_but_one_line_of_many_entries_does() {
        let listed = |lines, entries| Room::new(lines, entries).listed();
        assert_eq!([listed(200, 1), listed(1, 30_000), listed(200, 2)], [0, 1, 200]);
    }
}

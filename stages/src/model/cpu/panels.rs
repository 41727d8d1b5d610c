//! Matrix products of factors rounded to bfloat16, by AVX-512: both factors are copied into panels that lie in memory in the order in
//! which they are read, then tiles of the result are summed in registers.
//!
//! ```text
//! left   [m, k] → panels of 14 rows:    [entries, 14]
//! right  [k, n] → panels of 32 columns: [entries, 32]
//! tile   14 rows of two registers of 16 columns, over 256 entries at a time
//! ```
//!
//! What an entry is, the kind of product says: two neighbours along the sum as bfloat16 ([`pairs`]), or
//! one, rounded to bfloat16, as f32 ([`rounded`]). Products of f32 as they are gain nothing by this over
//! those of the `gemm` crate (`benches/RESULTS.md`). The order of a sum depends on shapes alone.

pub mod pairs;
pub mod rounded;

use std::arch::x86_64::*;
use std::cell::RefCell;

use rayon::prelude::*;

use super::SharedPointer;
use super::product::{Matrix, Target};

/// Rows and columns of a tile: 28 of the 32 registers hold its sums.
const ROWS: usize = 14;
const COLUMNS: usize = 32;

/// Lanes of a register.
const LANES: usize = 16;

/// Entries along the sum: of a panel of the right factor 32 KiB, which stay in the first cache.
const DEPTH: usize = 256;

/// Panels of a task in each direction: those of the left factor (112 KiB) stay in the second cache.
const TASK_PANELS: usize = 8;

/// The sums of a tile.
type Sums = [[__m512; 2]; ROWS];

/// How factors are laid out in panels and multiplied.
pub trait Kind {
    /// How many elements along the sum an entry holds.
    const ELEMENTS: usize;

    /// Copies at most 16 rows of a factor into entries: `[entries, width]`, or `[entries, 16]` at
    /// `width` from one another where that is more. What is missing is 0.
    ///
    /// # Safety
    ///
    /// The rows must be valid for `k` elements, and `to` for all entries. The processor must have
    /// the instructions of the kind.
    unsafe fn pack(from: Part, k: usize, to: *mut u32, width: usize);

    /// Sums `depth` entries of two panels into a tile of `rows` and `columns` of the result; with
    /// `more`, what is there is added.
    ///
    /// # Safety
    ///
    /// The panels must hold as many, and the target the tile's rows. The processor must have the
    /// instructions of the kind.
    unsafe fn tile(
        panels: (*const u32, *const u32),
        depth: usize,
        target: Target,
        sizes: [usize; 2],
        more: bool,
    );
}

/// Whether this processor has what all kinds need.
pub fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

/// As [`super::product::product`], of factors rounded to bfloat16.
///
/// # Safety
///
/// As there, and the processor must have the instructions of the kind.
pub unsafe fn product<K: Kind>(
    [m, k, n]: [usize; 3],
    left: Matrix,
    right: Matrix,
    target: Target,
    spread: bool,
) {
    let entries = k.div_ceil(K::ELEMENTS);
    let (row_panels, column_panels) = (m.div_ceil(ROWS), n.div_ceil(COLUMNS));
    let mut left_panels = take_memory(row_panels * ROWS * entries);
    let mut right_panels = take_memory(column_panels * COLUMNS * entries);
    let to_left = SharedPointer::of(left_panels.as_mut_ptr());
    let to_right = SharedPointer::of(right_panels.as_mut_ptr());
    let pack = |index: usize| {
        // SAFETY: each index fills a panel of its own within the memory taken; what is read is
        // within the factors: `rows` rows or columns from the first on, over all of `k`.
        unsafe {
            if let Some(panel) = index.checked_sub(row_panels) {
                for first in [panel * COLUMNS, panel * COLUMNS + LANES] {
                    let from = right.transposed().part(first, n.saturating_sub(first).min(LANES));
                    let to = to_right.at(panel * COLUMNS * entries + first % COLUMNS);
                    K::pack(from, k, to, COLUMNS);
                }
            } else {
                let from = left.part(index * ROWS, (m - index * ROWS).min(ROWS));
                K::pack(from, k, to_left.at(index * ROWS * entries), ROWS);
            }
        }
    };
    // Blocks of the same depth, at most the largest.
    let block = entries.div_ceil(entries.div_ceil(DEPTH).max(1)).max(1);
    let column_tasks = column_panels.div_ceil(TASK_PANELS);
    let tasks = row_panels.div_ceil(TASK_PANELS) * column_tasks;
    let task = |task: usize| {
        let panels =
            |task: usize, all: usize| task * TASK_PANELS..((task + 1) * TASK_PANELS).min(all);
        for start in (0..entries.max(1)).step_by(block) {
            let depth = block.min(entries - start);
            for column in panels(task % column_tasks, column_panels) {
                for row in panels(task / column_tasks, row_panels) {
                    // SAFETY: the panels are whole; each tile of the result is one task's alone.
                    unsafe {
                        let left = to_left.at((row * entries + start) * ROWS);
                        let right = to_right.at((column * entries + start) * COLUMNS);
                        let (row, column) = (row * ROWS, column * COLUMNS);
                        let sizes = [(m - row).min(ROWS), (n - column).min(COLUMNS)];
                        let target = target.at(row, column);
                        K::tile((left, right), depth, target, sizes, start > 0);
                    }
                }
            }
        }
    };
    if spread && rayon::current_num_threads() > 1 {
        (0..row_panels + column_panels).into_par_iter().with_min_len(2).for_each(pack);
        (0..tasks).into_par_iter().for_each(task);
    } else {
        (0..row_panels + column_panels).for_each(pack);
        (0..tasks).for_each(task);
    }
    give_memory(right_panels);
    give_memory(left_panels);
}

thread_local! {
    /// Panels of earlier products: memory that is in use already costs no page faults.
    static MEMORY: RefCell<Vec<Vec<u32>>> = const { RefCell::new(Vec::new()) };
}

/// Empty, with room for so many entries.
fn take_memory(entries: usize) -> Vec<u32> {
    let mut memory = MEMORY.with(|all| all.borrow_mut().pop()).unwrap_or_default();
    memory.reserve(entries);
    memory
}

fn give_memory(memory: Vec<u32>) {
    MEMORY.with(|all| all.borrow_mut().push(memory));
}

/// Some rows of a factor: along each, the sum goes.
pub struct Part {
    first: *const f32,
    row_stride: usize,
    stride: usize,
    rows: usize,
}

impl Matrix {
    fn part(&self, first: usize, rows: usize) -> Part {
        let (row_stride, stride) = (self.row_stride, self.column_stride);
        Part { first: self.at(first, 0), row_stride, stride, rows }
    }
}

/// The first `lanes` lanes.
fn mask(lanes: usize) -> __mmask16 {
    if lanes >= LANES { !0 } else { (1 << lanes) - 1 }
}

/// Rows and columns of 16 x 16 exchanged.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn transposed(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let zeros = [_mm512_setzero_si512(); LANES];
    let (mut twos, mut fours, mut result) = (zeros, zeros, zeros);
    for at in (0..LANES).step_by(2) {
        twos[at] = _mm512_unpacklo_epi32(rows[at], rows[at + 1]);
        twos[at + 1] = _mm512_unpackhi_epi32(rows[at], rows[at + 1]);
    }
    // Quarter q of fours[4 i + c] is column 4 q + c of the rows 4 i to 4 i + 3.
    for at in (0..LANES).step_by(4) {
        fours[at] = _mm512_unpacklo_epi64(twos[at], twos[at + 2]);
        fours[at + 1] = _mm512_unpackhi_epi64(twos[at], twos[at + 2]);
        fours[at + 2] = _mm512_unpacklo_epi64(twos[at + 1], twos[at + 3]);
        fours[at + 3] = _mm512_unpackhi_epi64(twos[at + 1], twos[at + 3]);
    }
    for at in 0..4 {
        let upper_even = _mm512_shuffle_i32x4::<0x88>(fours[at], fours[4 + at]);
        let upper_odd = _mm512_shuffle_i32x4::<0xdd>(fours[at], fours[4 + at]);
        let lower_even = _mm512_shuffle_i32x4::<0x88>(fours[8 + at], fours[12 + at]);
        let lower_odd = _mm512_shuffle_i32x4::<0xdd>(fours[8 + at], fours[12 + at]);
        result[at] = _mm512_shuffle_i32x4::<0x88>(upper_even, lower_even);
        result[4 + at] = _mm512_shuffle_i32x4::<0x88>(upper_odd, lower_odd);
        result[8 + at] = _mm512_shuffle_i32x4::<0xdd>(upper_even, lower_even);
        result[12 + at] = _mm512_shuffle_i32x4::<0xdd>(upper_odd, lower_odd);
    }
    result
}

/// Writes a tile of `rows` and `columns` of the result; with `more`, what is there is added.
///
/// # Safety
///
/// The target must hold the tile's rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn write(sums: Sums, target: Target, [rows, columns]: [usize; 2], more: bool) {
    let masks = [mask(columns), mask(columns.saturating_sub(LANES))];
    let scale = _mm512_set1_ps(target.scale);
    let mut biases = [_mm512_setzero_ps(); 2];
    if let Some(bias) = target.bias.filter(|_| !more) {
        for (half, values) in biases.iter_mut().enumerate() {
            // SAFETY: only the tile's columns are read.
            *values =
                unsafe { _mm512_maskz_loadu_ps(masks[half], bias.wrapping_add(half * LANES)) };
        }
    }
    // SAFETY: only the tile's elements are read and written.
    let put = |row: usize, half: usize, sum: __m512| unsafe {
        let at = target.out.wrapping_add(row * target.row_stride + half * LANES);
        let before = if more { _mm512_maskz_loadu_ps(masks[half], at) } else { biases[half] };
        _mm512_mask_storeu_ps(at, masks[half], _mm512_fmadd_ps(sum, scale, before));
    };
    if rows == ROWS {
        // The number of rows is known to the compiler: the sums stay in registers.
        for (row, [low, high]) in sums.into_iter().enumerate() {
            put(row, 0, low);
            put(row, 1, high);
        }
    } else {
        for (row, [low, high]) in sums.iter().enumerate().take(rows) {
            put(row, 0, *low);
            put(row, 1, *high);
        }
    }
}

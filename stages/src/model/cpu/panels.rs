//! Matrix products of factors rounded to bfloat16, with AVX-512. Both factors are packed into
//! panels that are contiguous in the order in which they are read, as in BLIS; then a microkernel
//! accumulates each tile of the result in registers.
//!
//! ```text
//! left   [m, k] → panels of 14 rows:    [entries, 14]
//! right  [k, n] → panels of 32 columns: [entries, 32]
//! tile   14 rows of two registers of 16 columns, over 256 entries at a time
//! ```
//!
//! The [`PanelFormat`] defines an entry: two neighbours along `k` as bfloat16 ([`pairs`]), or one
//! value rounded to bfloat16 and stored as f32 ([`rounded`]). Exact f32 products use the `gemm`
//! crate, which is as fast as packing them here (`benches/RESULTS.md`). The order of each sum
//! depends on shapes alone.

pub(super) mod pairs;
pub(super) mod rounded;

use std::arch::x86_64::*;
use std::cell::RefCell;

use rayon::prelude::*;

use super::matrix::{Matrix, SharedPointer, Target};

/// Rows and columns of a tile. Its sums take 28 of the 32 registers.
const ROWS: usize = 14;
const COLUMNS: usize = 32;

/// Lanes of a register.
const LANES: usize = 16;

/// Entries along `k` per block: 32 KiB of a panel of the right factor, which fit the L1 cache.
const DEPTH: usize = 256;

/// Panels per task in each direction. Those of the left factor take 112 KiB and fit the L2 cache.
const TASK_PANELS: usize = 8;

/// The sums of a tile.
type Sums = [[__m512; 2]; ROWS];

/// Whether this processor has the instructions that every format needs.
pub(super) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

/// [`super::product::product`] of factors rounded to bfloat16.
///
/// # Safety
///
/// As for [`super::product::product`]; the processor must also have the instructions of the format.
pub(super) unsafe fn product<K: PanelFormat>(
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
    let to_left = SharedPointer::spare(&mut left_panels, row_panels * ROWS * entries);
    let to_right = SharedPointer::spare(&mut right_panels, column_panels * COLUMNS * entries);
    let pack = |index: usize| {
        // SAFETY: each index fills a separate panel, which lies in the reserved memory. Strips hold
        // only rows of `left` and columns of `right` that exist, over all of `k`.
        unsafe {
            if let Some(panel) = index.checked_sub(row_panels) {
                for first in [panel * COLUMNS, panel * COLUMNS + LANES] {
                    let from = right.transposed().strip(first, n.saturating_sub(first).min(LANES));
                    let to = to_right.from(panel * COLUMNS * entries + first % COLUMNS);
                    K::pack(from, k, to, COLUMNS);
                }
            } else {
                let from = left.strip(index * ROWS, (m - index * ROWS).min(ROWS));
                K::pack(from, k, to_left.from(index * ROWS * entries), ROWS);
            }
        }
    };
    // Blocks of equal depth, none deeper than `DEPTH`.
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
                    // SAFETY: all panels are packed, and only this task writes this tile.
                    unsafe {
                        let left = to_left.from((row * entries + start) * ROWS);
                        let right = to_right.from((column * entries + start) * COLUMNS);
                        let (row, column) = (row * ROWS, column * COLUMNS);
                        let sizes = [(m - row).min(ROWS), (n - column).min(COLUMNS)];
                        let target = target.from(row, column);
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
    /// Panel buffers of earlier products, reused because fresh memory costs page faults.
    static MEMORY: RefCell<Vec<Vec<u32>>> = const { RefCell::new(Vec::new()) };
}

/// Returns an empty vector with capacity for `entries` entries.
fn take_memory(entries: usize) -> Vec<u32> {
    let mut memory = MEMORY.with(|all| all.borrow_mut().pop()).unwrap_or_default();
    memory.reserve(entries);
    memory
}

fn give_memory(memory: Vec<u32>) {
    MEMORY.with(|all| all.borrow_mut().push(memory));
}

/// The layout of panels and the microkernel that multiplies them.
pub(super) trait PanelFormat {
    /// Elements along `k` per entry.
    const ELEMENTS: usize;

    /// Packs up to 16 rows of a factor into `[entries, width]`, padded with zeros. If `width`
    /// exceeds 16, only the first 16 lanes of each entry are written.
    ///
    /// # Safety
    ///
    /// The rows must be valid for reads of `k` elements and `to` for writes of all entries. The
    /// processor must have the instructions of the format.
    unsafe fn pack(from: Strip, k: usize, to: SharedPointer<u32>, width: usize);

    /// Multiplies `depth` entries of two panels and writes a `[rows, columns]` tile of the result.
    /// With `accumulate`, adds to the tile instead of overwriting it.
    ///
    /// # Safety
    ///
    /// Both panels must hold `depth` entries, and the target must be valid for the tile. The
    /// processor must have the instructions of the format.
    unsafe fn tile(
        panels: (SharedPointer<u32>, SharedPointer<u32>),
        depth: usize,
        target: Target,
        sizes: [usize; 2],
        accumulate: bool,
    );
}

/// Up to 16 rows of a factor. Sums run along the rows.
pub(super) struct Strip {
    matrix: Matrix,
    rows: usize,
}

impl Strip {
    /// The address of the first element, for reads of `k` elements of every row.
    fn pointer(&self, k: usize) -> *const f32 {
        self.matrix.pointer(self.rows, k)
    }
}

impl Matrix {
    fn strip(self, first: usize, rows: usize) -> Strip {
        Strip { matrix: self.rows_from(first), rows }
    }
}

/// A mask of the first `lanes` lanes.
fn mask(lanes: usize) -> __mmask16 {
    if lanes >= LANES { !0 } else { (1 << lanes) - 1 }
}

/// Transposes a 16 x 16 matrix.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn transposed(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let zeros = [_mm512_setzero_si512(); LANES];
    let (mut twos, mut fours, mut result) = (zeros, zeros, zeros);
    for at in (0..LANES).step_by(2) {
        twos[at] = _mm512_unpacklo_epi32(rows[at], rows[at + 1]);
        twos[at + 1] = _mm512_unpackhi_epi32(rows[at], rows[at + 1]);
    }
    // Quarter q of fours[4 i + c] holds column 4 q + c of rows 4 i to 4 i + 3.
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

/// Writes a `[rows, columns]` tile of the result. With `accumulate`, adds to it instead.
///
/// # Safety
///
/// The target must be valid for the tile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn write(sums: Sums, target: Target, [rows, columns]: [usize; 2], accumulate: bool) {
    let masks = [mask(columns), mask(columns.saturating_sub(LANES))];
    let scale = _mm512_set1_ps(target.scale);
    let mut biases = [_mm512_setzero_ps(); 2];
    let out = target.pointer(rows, columns);
    if let Some(bias) = target.bias(columns).filter(|_| !accumulate) {
        for (half, values) in biases.iter_mut().enumerate() {
            // SAFETY: the mask limits the read to the columns of the tile.
            *values =
                unsafe { _mm512_maskz_loadu_ps(masks[half], bias.wrapping_add(half * LANES)) };
        }
    }
    // SAFETY: the masks limit reads and writes to the elements of the tile.
    let put = |row: usize, half: usize, sum: __m512| unsafe {
        let at = out.wrapping_add(row * target.row_stride + half * LANES);
        let before = if accumulate { _mm512_maskz_loadu_ps(masks[half], at) } else { biases[half] };
        _mm512_mask_storeu_ps(at, masks[half], _mm512_fmadd_ps(sum, scale, before));
    };
    if rows == ROWS {
        // The compiler knows the number of rows here, so the sums stay in registers.
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

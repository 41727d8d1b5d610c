//! The products by AVX-512 BF16: both factors are rounded into panels of pairs along the sum, then
//! tiles of the result are summed in registers, two products an instruction (`vdpbf16ps`).
//!
//! ```text
//! left   [m, k] f32 → panels of 14 rows:    [k / 2, 14] pairs
//! right  [k, n] f32 → panels of 32 columns: [k / 2, 32] pairs
//! tile   14 rows of two registers of 16 columns, over 256 pairs at a time
//! ```

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::mem::transmute;

use rayon::prelude::*;

use crate::model::cpu::SharedPointer;
use crate::model::cpu::product::Matrix;

/// Rows and columns of a tile: 28 of the 32 registers hold its sums.
const ROWS: usize = 14;
const COLUMNS: usize = 32;

/// Lanes of a register.
const LANES: usize = 16;

/// Pairs along the sum for which a panel of the right factor (32 KiB) and one of the left fit
/// into the first cache.
const DEPTH: usize = 256;

/// Panels of a task in each direction: those of the left factor (56 KiB) stay in the second cache.
const TASK_PANELS: usize = 8;

/// As [`super::product`].
///
/// # Safety
///
/// As there, and the processor must have the instructions that [`super::is_fast`] asks for.
pub unsafe fn product(
    [m, k, n]: [usize; 3],
    left: Matrix,
    right: Matrix,
    (out, out_row_stride): (*mut f32, usize),
    (keep, scale): (f32, f32),
) {
    let pairs = k.div_ceil(2);
    let (row_panels, column_panels) = (m.div_ceil(ROWS), n.div_ceil(COLUMNS));
    let mut left_pairs = take_memory(row_panels * ROWS * pairs);
    let mut right_pairs = take_memory(column_panels * COLUMNS * pairs);
    let to_left = SharedPointer::of(left_pairs.as_mut_ptr());
    let to_right = SharedPointer::of(right_pairs.as_mut_ptr());
    (0..row_panels + column_panels).into_par_iter().with_min_len(2).for_each(|index| {
        // SAFETY: each task fills a panel of its own within the memory taken; what is read is
        // within the factors: `count` rows or columns from the first on, over all of `k`.
        unsafe {
            if let Some(panel) = index.checked_sub(row_panels) {
                for first in [panel * COLUMNS, panel * COLUMNS + LANES] {
                    let from = right.transposed().part(first, n.saturating_sub(first).min(LANES));
                    let to = to_right.at(panel * COLUMNS * pairs + first % COLUMNS);
                    pack(from, k, to, COLUMNS);
                }
            } else {
                let from = left.part(index * ROWS, (m - index * ROWS).min(ROWS));
                pack(from, k, to_left.at(index * ROWS * pairs), ROWS);
            }
        }
    });
    let column_tasks = column_panels.div_ceil(TASK_PANELS);
    let tasks = row_panels.div_ceil(TASK_PANELS) * column_tasks;
    let shared = SharedPointer::of(out);
    (0..tasks).into_par_iter().for_each(|task| {
        let panels =
            |task: usize, all: usize| task * TASK_PANELS..((task + 1) * TASK_PANELS).min(all);
        for start in (0..pairs.max(1)).step_by(DEPTH) {
            let depth = DEPTH.min(pairs - start);
            let factors = (if start == 0 { keep } else { 1.0 }, scale);
            for column in panels(task % column_tasks, column_panels) {
                for row in panels(task / column_tasks, row_panels) {
                    // SAFETY: the panels are whole; each tile of `out` is one task's alone.
                    unsafe {
                        let left = to_left.at((row * pairs + start) * ROWS);
                        let right = to_right.at((column * pairs + start) * COLUMNS);
                        let (row, column) = (row * ROWS, column * COLUMNS);
                        let out = shared.at(row * out_row_stride + column);
                        let sizes = [(m - row).min(ROWS), (n - column).min(COLUMNS)];
                        tile(left, right, depth, (out, out_row_stride), sizes, factors);
                    }
                }
            }
        }
    });
    give_memory(right_pairs);
    give_memory(left_pairs);
}

thread_local! {
    /// Panels of earlier products: memory that is in use already costs no page faults.
    static MEMORY: RefCell<Vec<Vec<u32>>> = const { RefCell::new(Vec::new()) };
}

/// Empty, with room for so many pairs.
fn take_memory(pairs: usize) -> Vec<u32> {
    let mut memory = MEMORY.with(|all| all.borrow_mut().pop()).unwrap_or_default();
    memory.reserve(pairs);
    memory
}

fn give_memory(memory: Vec<u32>) {
    MEMORY.with(|all| all.borrow_mut().push(memory));
}

/// Some rows of a factor: along each, the sum goes.
struct Part {
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

/// Rounds at most 16 rows into pairs: `[k / 2, 16]` at `width` from one another, or `[k / 2,
/// width]` where that is less. Missing rows, and what is missing of the last pair, are 0.
///
/// # Safety
///
/// The rows must be valid for `k` elements, and `to` for all pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn pack(from: Part, k: usize, to: *mut u32, width: usize) {
    let (write, read) = (mask(width), mask(from.rows));
    let store = |pair: usize, values: __m512i| {
        // SAFETY: pair number `pair` is within `to`, and no more lanes are written than it has.
        unsafe { _mm512_mask_storeu_epi32(to.add(pair * width).cast(), write, values) };
    };
    if from.row_stride == 1 {
        let load = |at: usize| {
            let mask = if at < k { read } else { 0 };
            // SAFETY: only elements of these rows at `at` are read.
            unsafe { _mm512_maskz_loadu_ps(mask, from.first.wrapping_add(at * from.stride)) }
        };
        for pair in 0..k.div_ceil(2) {
            store(pair, interleaved(load(2 * pair), load(2 * pair + 1)));
        }
        return;
    }
    for start in (0..k).step_by(2 * LANES) {
        let masks = (mask(k - start), mask((k - start).saturating_sub(LANES)));
        let mut rows = [_mm512_setzero_si512(); LANES];
        for (row, pairs) in rows.iter_mut().enumerate().take(from.rows) {
            let at = from.first.wrapping_add(row * from.row_stride + start);
            // SAFETY: only elements of this row are read; all bits are bits of integers too.
            unsafe {
                let low = _mm512_maskz_loadu_ps(masks.0, at);
                let high = _mm512_maskz_loadu_ps(masks.1, at.wrapping_add(LANES));
                *pairs = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            }
        }
        let pairs = (k - start).div_ceil(2).min(LANES);
        for (pair, values) in transposed(rows).into_iter().enumerate().take(pairs) {
            store(start / 2 + pair, values);
        }
    }
}

/// Pairs of the elements of two vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn interleaved(low: __m512, high: __m512) -> __m512i {
    let wide = |values: __m512| {
        // SAFETY: all bits are bits of integers too.
        let bits = unsafe { transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)) };
        _mm512_cvtepu16_epi32(bits)
    };
    _mm512_or_si512(wide(low), _mm512_slli_epi32::<16>(wide(high)))
}

/// Rows and columns of 16 x 16 exchanged.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
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

/// `out = keep · out + scale · Σ left · right` over `depth` pairs, for a tile of `rows` and
/// `columns`.
///
/// # Safety
///
/// The panels must hold `depth` pairs, and `out` the tile's rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn tile(
    left: *const u32,
    right: *const u32,
    depth: usize,
    (out, out_row_stride): (*mut f32, usize),
    [rows, columns]: [usize; 2],
    (keep, scale): (f32, f32),
) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for pair in 0..depth {
        // SAFETY: this pair is within both panels; all bits are bits of bfloat16 too.
        unsafe {
            let columns = right.add(pair * COLUMNS);
            let load =
                |at: *const u32| transmute::<__m512i, __m512bh>(_mm512_loadu_si512(at.cast()));
            let (low, high) = (load(columns), load(columns.add(LANES)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = _mm512_set1_epi32((*left.add(pair * ROWS + row)).cast_signed());
                let factor = transmute::<__m512i, __m512bh>(factor);
                sums[0] = _mm512_dpbf16_ps(sums[0], factor, low);
                sums[1] = _mm512_dpbf16_ps(sums[1], factor, high);
            }
        }
    }
    let masks = [mask(columns), mask(columns.saturating_sub(LANES))];
    let (keeps, scales) = (_mm512_set1_ps(keep), _mm512_set1_ps(scale));
    for (row, sums) in sums.iter().enumerate().take(rows) {
        for (half, sum) in sums.iter().enumerate() {
            let at = out.wrapping_add(row * out_row_stride + half * LANES);
            let mut value = _mm512_mul_ps(*sum, scales);
            // SAFETY: only the tile's elements are read and written.
            unsafe {
                if keep != 0.0 {
                    value = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(masks[half], at), keeps, value);
                }
                _mm512_mask_storeu_ps(at, masks[half], value);
            }
        }
    }
}

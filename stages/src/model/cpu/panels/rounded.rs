//! Entries of one element, rounded to bfloat16 and stored as f32. Computes the same products as
//! [`super::pairs`] on processors without a fast bfloat16 instruction.

use std::arch::x86_64::*;

use super::{COLUMNS, LANES, PanelFormat, ROWS, Strip, Sums, mask, transposed, write};
use crate::model::cpu::matrix::{SharedPointer, Target};

/// Panels of f32 values rounded to bfloat16 (to nearest, ties to even).
pub(in crate::model::cpu) struct Rounded;

impl PanelFormat for Rounded {
    const ELEMENTS: usize = 1;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn pack(from: Strip, k: usize, to: SharedPointer<u32>, width: usize) {
        // SAFETY: the caller guarantees the same.
        unsafe { pack(from, k, to, width) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn tile(
        panels: (SharedPointer<u32>, SharedPointer<u32>),
        depth: usize,
        target: Target,
        sizes: [usize; 2],
        accumulate: bool,
    ) {
        // SAFETY: the caller guarantees valid panels and a target that is valid for the tile.
        unsafe { write(sums(panels, depth), target, sizes, accumulate) }
    }
}

/// [`PanelFormat::pack`].
///
/// # Safety
///
/// As for [`PanelFormat::pack`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn pack(from: Strip, k: usize, to: SharedPointer<u32>, width: usize) {
    let (first, matrix) = (from.pointer(k), from.matrix);
    let (write, read) = (mask(width), mask(from.rows));
    let store = |at: usize, values: __m512i| {
        let to = to.from(at * width).pointer(width.min(LANES));
        // SAFETY: entry `at` lies within `to`, and the mask limits the write to its lanes.
        unsafe { _mm512_mask_storeu_epi32(to.cast(), write, rounded(values)) };
    };
    if matrix.row_stride == 1 {
        for at in 0..k {
            let column = first.wrapping_add(at * matrix.column_stride).cast();
            // SAFETY: the mask limits the read to the rows of the strip.
            store(at, unsafe { _mm512_maskz_loadu_epi32(read, column) });
        }
        return;
    }
    for start in (0..k).step_by(LANES) {
        let lanes = mask(k - start);
        let mut rows = [_mm512_setzero_si512(); LANES];
        for (row, values) in rows.iter_mut().enumerate().take(from.rows) {
            let at = first.wrapping_add(row * matrix.row_stride + start).cast();
            // SAFETY: the mask limits the read to this row.
            *values = unsafe { _mm512_maskz_loadu_epi32(lanes, at) };
        }
        for (at, values) in transposed(rows).into_iter().enumerate().take(k - start) {
            store(start + at, values);
        }
    }
}

/// Computes the sums of a tile.
///
/// # Safety
///
/// Both panels must hold `depth` entries.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn sums((left, right): (SharedPointer<u32>, SharedPointer<u32>), depth: usize) -> Sums {
    let left = left.pointer(depth * ROWS).cast::<f32>();
    let right = right.pointer(depth * COLUMNS).cast::<f32>();
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for at in 0..depth {
        // SAFETY: this entry lies within both panels.
        unsafe {
            let columns = right.add(at * COLUMNS);
            let (low, high) = (_mm512_loadu_ps(columns), _mm512_loadu_ps(columns.add(LANES)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = _mm512_set1_ps(*left.add(at * ROWS + row));
                sums[0] = _mm512_fmadd_ps(factor, low, sums[0]);
                sums[1] = _mm512_fmadd_ps(factor, high, sums[1]);
            }
        }
    }
    sums
}

/// Rounds to nearest, ties to even. NaN stays NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn rounded(bits: __m512i) -> __m512i {
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let sum = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
    let values = _mm512_castsi512_ps(bits);
    let no_number = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
    let kept = _mm512_mask_mov_epi32(sum, no_number, bits);
    _mm512_and_si512(kept, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()))
}

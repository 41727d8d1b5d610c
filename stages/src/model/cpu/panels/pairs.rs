//! Entries of two elements along `k`, rounded to bfloat16 (to nearest). One instruction
//! (`vdpbf16ps`, AVX-512 BF16) computes two products per lane.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::{COLUMNS, LANES, PanelFormat, ROWS, Strip, Sums, mask, transposed, write};
use crate::model::cpu::matrix::{SharedPointer, Target};

/// Panels of pairs of bfloat16.
pub(in crate::model::cpu) struct Pairs;

impl PanelFormat for Pairs {
    const ELEMENTS: usize = 2;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn pack(from: Strip, k: usize, to: SharedPointer<u32>, width: usize) {
        let (first, matrix) = (from.pointer(k), from.matrix);
        let (write, read) = (mask(width), mask(from.rows));
        let store = |pair: usize, values: __m512i| {
            let to = to.from(pair * width).pointer(width.min(LANES));
            // SAFETY: pair `pair` lies within `to`, and the mask limits the write to its lanes.
            unsafe { _mm512_mask_storeu_epi32(to.cast(), write, values) };
        };
        if matrix.row_stride == 1 {
            let load = |at: usize| {
                let mask = if at < k { read } else { 0 };
                // SAFETY: the mask limits the read to the rows of the strip.
                unsafe {
                    _mm512_maskz_loadu_ps(mask, first.wrapping_add(at * matrix.column_stride))
                }
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
                let at = first.wrapping_add(row * matrix.row_stride + start);
                // SAFETY: the masks limit the reads to this row. Every bit pattern is a valid
                // integer.
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

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn tile(
        (left, right): (SharedPointer<u32>, SharedPointer<u32>),
        depth: usize,
        target: Target,
        sizes: [usize; 2],
        accumulate: bool,
    ) {
        let (left, right) = (left.pointer(depth * ROWS), right.pointer(depth * COLUMNS));
        let mut sums: Sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for pair in 0..depth {
            // SAFETY: this pair lies within both panels. Every bit pattern is a valid bfloat16.
            unsafe {
                let columns = right.add(pair * COLUMNS);
                let load =
                    |at: *mut u32| transmute::<__m512i, __m512bh>(_mm512_loadu_si512(at.cast()));
                let (low, high) = (load(columns), load(columns.add(LANES)));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let factor = _mm512_set1_epi32((*left.add(pair * ROWS + row)).cast_signed());
                    let factor = transmute::<__m512i, __m512bh>(factor);
                    sums[0] = _mm512_dpbf16_ps(sums[0], factor, low);
                    sums[1] = _mm512_dpbf16_ps(sums[1], factor, high);
                }
            }
        }
        // SAFETY: the caller guarantees that the target is valid for the tile.
        unsafe { write(sums, target, sizes, accumulate) }
    }
}

/// Rounds two vectors to bfloat16 and interleaves them: lane `i` holds element `i` of both.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn interleaved(low: __m512, high: __m512) -> __m512i {
    let wide = |values: __m512| {
        // SAFETY: every bit pattern is a valid integer.
        let bits = unsafe { transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(values)) };
        _mm512_cvtepu16_epi32(bits)
    };
    _mm512_or_si512(wide(low), _mm512_slli_epi32::<16>(wide(high)))
}

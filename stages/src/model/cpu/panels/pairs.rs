//! Two elements along the sum as bfloat16, rounded to nearest: two products an instruction
//! (`vdpbf16ps`, AVX-512 BF16).

use std::arch::x86_64::*;
use std::mem::transmute;

use super::{COLUMNS, Kind, LANES, Part, ROWS, Sums, mask, transposed, write};
use crate::model::cpu::product::Target;

/// Products of bfloat16.
pub struct Pairs;

impl Kind for Pairs {
    const ELEMENTS: usize = 2;

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

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn tile(
        (left, right): (*const u32, *const u32),
        depth: usize,
        target: Target,
        sizes: [usize; 2],
        more: bool,
    ) {
        let mut sums: Sums = [[_mm512_setzero_ps(); 2]; ROWS];
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
        // SAFETY: as the caller promises.
        unsafe { write(sums, target, sizes, more) }
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

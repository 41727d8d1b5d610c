//! One element as f32, rounded to bfloat16: what [`super::pairs`] computes, for processors that multiply
//! f32 as fast as bfloat16 or have no instruction for the latter.

use std::arch::x86_64::*;

use super::{COLUMNS, Kind, LANES, Part, ROWS, Sums, mask, transposed, write};
use crate::model::cpu::product::Target;

/// Products of f32 whose factors are rounded to bfloat16, to nearest and ties to even.
pub struct Rounded;

impl Kind for Rounded {
    const ELEMENTS: usize = 1;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn pack(from: Part, k: usize, to: *mut u32, width: usize) {
        // SAFETY: as the caller promises, and the instructions are there.
        unsafe { pack(from, k, to, width) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn tile(
        panels: (*const u32, *const u32),
        depth: usize,
        target: Target,
        sizes: [usize; 2],
        more: bool,
    ) {
        // SAFETY: as the caller promises.
        unsafe { write(sums(panels, depth), target, sizes, more) }
    }
}

/// [`Kind::pack`].
///
/// # Safety
///
/// As there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn pack(from: Part, k: usize, to: *mut u32, width: usize) {
    let (write, read) = (mask(width), mask(from.rows));
    let store = |at: usize, values: __m512i| {
        // SAFETY: entry `at` is within `to`, and no more lanes are written than it has.
        unsafe { _mm512_mask_storeu_epi32(to.add(at * width).cast(), write, rounded(values)) };
    };
    if from.row_stride == 1 {
        for at in 0..k {
            let first = from.first.wrapping_add(at * from.stride).cast();
            // SAFETY: only elements of these rows at `at` are read.
            store(at, unsafe { _mm512_maskz_loadu_epi32(read, first) });
        }
        return;
    }
    for start in (0..k).step_by(LANES) {
        let lanes = mask(k - start);
        let mut rows = [_mm512_setzero_si512(); LANES];
        for (row, values) in rows.iter_mut().enumerate().take(from.rows) {
            let at = from.first.wrapping_add(row * from.row_stride + start).cast();
            // SAFETY: only elements of this row are read.
            *values = unsafe { _mm512_maskz_loadu_epi32(lanes, at) };
        }
        for (at, values) in transposed(rows).into_iter().enumerate().take(k - start) {
            store(start + at, values);
        }
    }
}

/// The sums of a tile.
///
/// # Safety
///
/// As [`Kind::tile`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn sums((left, right): (*const u32, *const u32), depth: usize) -> Sums {
    let (left, right) = (left.cast::<f32>(), right.cast::<f32>());
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for at in 0..depth {
        // SAFETY: this entry is within both panels.
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

/// Rounded to nearest, ties to even; what is no number stays so.
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

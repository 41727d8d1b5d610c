//! The sums of a tile with AVX-512 VNNI and with AVX2.

use std::arch::x86_64::*;

use super::panel::{COLUMNS, LeftEntry, ROWS, RightEntry, Sums};

pub(super) fn has_vnni() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
}

pub(super) fn by_vnni(left: &[LeftEntry], right: &[RightEntry], sums: &mut Sums) {
    assert!(has_vnni());
    // SAFETY: the processor has these instructions.
    unsafe { with_vnni(left, right, sums) }
}

pub(super) fn by_avx2(left: &[LeftEntry], right: &[RightEntry], sums: &mut Sums) {
    assert!(is_x86_feature_detected!("avx2"));
    // SAFETY: the processor has these instructions.
    unsafe { with_avx2(left, right, sums) }
}

/// One instruction (`vpdpbusd`) adds four products of u8 and i8 to each of 16 sums, without
/// saturation.
#[target_feature(enable = "avx512f,avx512vnni")]
fn with_vnni(left: &[LeftEntry], right: &[RightEntry], sums: &mut Sums) {
    const LANES: usize = 16;
    // SAFETY: an entry has two registers of 16 lanes of 4 bytes.
    let pair = |from: *const i32| unsafe {
        [_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.wrapping_add(LANES).cast())]
    };
    let mut all = [[_mm512_setzero_si512(); 2]; ROWS];
    for (left, right) in left.iter().zip(right) {
        let columns = pair(right.0.as_ptr().cast());
        for (left, sums) in left.iter().zip(&mut all) {
            let left = _mm512_set1_epi32(i32::from_ne_bytes(*left));
            sums[0] = _mm512_dpbusd_epi32(sums[0], left, columns[0]);
            sums[1] = _mm512_dpbusd_epi32(sums[1], left, columns[1]);
        }
    }
    for (sums, values) in sums.iter_mut().zip(all) {
        let to = sums.0.as_mut_ptr();
        // SAFETY: the sums of a row are two registers of 16 lanes.
        unsafe {
            _mm512_storeu_si512(to.cast(), values[0]);
            _mm512_storeu_si512(to.add(LANES).cast(), values[1]);
        }
    }
}

/// Widens both factors to i16, whose products and their sums in pairs are exact (`vpmaddwd`);
/// `vpmaddubsw` would saturate.
#[target_feature(enable = "avx2")]
fn with_avx2(left: &[LeftEntry], right: &[RightEntry], sums: &mut Sums) {
    /// Rows and registers of 4 channels that are computed at once.
    const FEW_ROWS: usize = 2;
    const REGISTERS: usize = 4;
    const FEW_COLUMNS: usize = 4 * REGISTERS;
    for first_row in (0..ROWS).step_by(FEW_ROWS) {
        for first in (0..COLUMNS).step_by(FEW_COLUMNS) {
            // Each channel has two partial sums, side by side.
            let mut all = [[_mm256_setzero_si256(); REGISTERS]; FEW_ROWS];
            for (left, right) in left.iter().zip(right) {
                let right = right.0[first..first + FEW_COLUMNS].as_ptr();
                let columns: [__m256i; REGISTERS] = std::array::from_fn(|at| {
                    // SAFETY: these are 4 of the channels, with 4 bytes each.
                    let bytes = unsafe { _mm_loadu_si128(right.add(4 * at).cast()) };
                    _mm256_cvtepi8_epi16(bytes)
                });
                for (row, sums) in all.iter_mut().enumerate() {
                    let left = _mm_set1_epi32(i32::from_ne_bytes(left[first_row + row]));
                    let left = _mm256_cvtepu8_epi16(left);
                    for (sum, columns) in sums.iter_mut().zip(columns) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(left, columns));
                    }
                }
            }
            for (row, partial) in all.iter().enumerate() {
                let sums = &mut sums[first_row + row].0[first..first + FEW_COLUMNS];
                for (at, partial) in partial.iter().enumerate() {
                    let mut halves = [0i32; 8];
                    // SAFETY: the array has the size of the register.
                    unsafe { _mm256_storeu_si256(halves.as_mut_ptr().cast(), *partial) };
                    for column in 0..4 {
                        sums[4 * at + column] = halves[2 * column] + halves[2 * column + 1];
                    }
                }
            }
        }
    }
}

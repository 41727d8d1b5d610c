//! Matrix products whose factors are rounded to bfloat16 (to nearest, ties to even) and whose sums
//! are f32. Processors with a fast AVX-512 BF16 instruction use it; the others multiply the rounded
//! factors in f32. The order of each sum depends on shapes alone, but the two ways may differ in
//! the last bits.

use half::bf16;
use rayon::prelude::*;

use super::exact::exact;
use super::matrix::{Matrix, Target};
#[cfg(target_arch = "x86_64")]
use super::panels;

/// Whether this processor multiplies bfloat16 faster than f32. On AMD from Zen 4 on, `vdpbf16ps`
/// takes as long as an f32 multiplication and computes twice the products. On Intel it takes four
/// times as long; Intel has AMX for this, which this crate does not use.
pub fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        // Leaf 0 returns the vendor's name in three registers.
        let name = std::arch::x86_64::__cpuid(0);
        let is_amd =
            [name.ebx, name.edx, name.ecx].map(u32::to_le_bytes).concat() == *b"AuthenticAMD";
        is_amd && panels::is_supported() && is_x86_feature_detected!("avx512bf16")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// [`super::product::product`] of factors rounded to bfloat16.
///
/// # Safety
///
/// As for [`super::product::product`].
pub(super) unsafe fn product(
    sizes: [usize; 3],
    left: Matrix,
    right: Matrix,
    target: Target,
    spread: bool,
) {
    // SAFETY: the caller guarantees valid memory, and each branch checks for its instructions.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if is_fast() {
            return panels::product::<panels::pairs::Pairs>(sizes, left, right, target, spread);
        } else if panels::is_supported() {
            return panels::product::<panels::rounded::Rounded>(sizes, left, right, target, spread);
        }
        by_rounding(sizes, left, right, target, spread);
    }
}

/// [`product`] on any processor.
///
/// # Safety
///
/// As for [`product`].
unsafe fn by_rounding(
    [m, k, n]: [usize; 3],
    left: Matrix,
    right: Matrix,
    target: Target,
    spread: bool,
) {
    // SAFETY: the caller guarantees that both factors are valid for these sizes.
    let (left, right) = unsafe { (rounded(left, m, k), rounded(right, k, n)) };
    let (left, right) = (Matrix::rows(&left, k), Matrix::rows(&right, n));
    // SAFETY: the caller guarantees a valid target; the rounded factors have exactly these sizes.
    unsafe { exact([m, k, n], left, right, target, spread) };
}

/// A row-major copy `[rows, columns]` of a factor, rounded to bfloat16 and stored as f32.
///
/// # Safety
///
/// The matrix must be valid for reads of these sizes.
unsafe fn rounded(of: Matrix, rows: usize, columns: usize) -> Vec<f32> {
    let mut result = vec![0.0; rows * columns];
    result.par_chunks_mut(columns.max(1)).enumerate().for_each(|(row, values)| {
        for (column, value) in values.iter_mut().enumerate() {
            // SAFETY: this element lies within the matrix.
            *value = bf16::from_f32(unsafe { *of.at(row, column) }).to_f32();
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::super::matrix::SharedPointer;
    use super::*;
    use crate::model::cpu::random::numbers;

    /// `m`, `k`, `n`: smaller than a tile, whole tiles, and partial tiles of several depths.
    const SIZES: [[usize; 3]; 7] = [
        [1, 1, 1],
        [5, 7, 3],
        [14, 32, 32],
        [15, 33, 35],
        [100, 77, 50],
        [130, 600, 97],
        [29, 1030, 300],
    ];

    /// Calls `of` with each combination of row-major and column-major factors.
    fn for_all_layouts(of: impl Fn([usize; 3], Matrix, Matrix, &str)) {
        for [m, k, n] in SIZES {
            let (left, right) = (numbers("left", m * k), numbers("right", k * n));
            for (left_transposed, right_transposed) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let turned = |values, rows, columns, turned| match turned {
                    true => Matrix::rows(values, rows).transposed(),
                    false => Matrix::rows(values, columns),
                };
                let left = turned(&left, m, k, left_transposed);
                let right = turned(&right, k, n, right_transposed);
                let name =
                    format!("{m} x {k} x {n}, transposed: {left_transposed}, {right_transposed}");
                of([m, k, n], left, right, &name);
            }
        }
    }

    type Way = unsafe fn([usize; 3], Matrix, Matrix, Target, bool);

    /// Every implementation that this processor can run.
    fn ways() -> Vec<Way> {
        let mut ways: Vec<Way> = vec![product, by_rounding];
        #[cfg(target_arch = "x86_64")]
        {
            if panels::is_supported() {
                ways.push(panels::product::<panels::rounded::Rounded>);
            }
            if panels::is_supported() && is_x86_feature_detected!("avx512bf16") {
                ways.push(panels::product::<panels::pairs::Pairs>);
            }
        }
        ways
    }

    fn result(way: Way, [m, k, n]: [usize; 3], left: Matrix, right: Matrix) -> Vec<f32> {
        let (mut out, bias) = (numbers("out", m * n), numbers("bias", n));
        let target = Target::rows(SharedPointer::new(&mut out), n).scaled(0.5).plus(&bias);
        // SAFETY: factors, target and bias have exactly these sizes.
        unsafe { way([m, k, n], left, right, target, true) };
        out
    }

    /// The largest deviation from a reference computed in f64.
    fn error(found: &[f32], [m, k, n]: [usize; 3], left: Matrix, right: Matrix) -> f64 {
        let bias = numbers("bias", n);
        let mut largest = 0.0f64;
        for (index, found) in found.iter().enumerate().take(m * n) {
            let (row, column) = (index / n, index % n);
            // SAFETY: these elements lie within the factors.
            let term =
                |at| unsafe { f64::from(*left.at(row, at)) * f64::from(*right.at(at, column)) };
            let expected = f64::from(bias[column]) + 0.5 * (0..k).map(term).sum::<f64>();
            largest = largest.max((expected - f64::from(*found)).abs());
        }
        largest
    }

    #[test]
    fn products_are_those_of_the_factors() {
        for_all_layouts(|sizes, left, right, name| {
            let error = error(&result(exact, sizes, left, right), sizes, left, right);
            assert!(error < 5e-5, "{name}: {error}");
        });
    }

    #[test]
    fn products_in_bfloat16_are_those_of_the_rounded_factors() {
        for_all_layouts(|[m, k, n], left, right, name| {
            // SAFETY: both have these sizes.
            let (exact_left, exact_right) = unsafe { (rounded(left, m, k), rounded(right, k, n)) };
            let exact = (Matrix::rows(&exact_left, k), Matrix::rows(&exact_right, n));
            for (number, way) in ways().into_iter().enumerate() {
                let found = result(way, [m, k, n], left, right);
                let error = error(&found, [m, k, n], exact.0, exact.1);
                assert!(error < 5e-5, "{name}, way {number}: {error}");
            }
        });
    }

    #[test]
    fn products_do_not_depend_on_the_number_of_threads() {
        let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (one, three) = (with(1), with(3));
        for_all_layouts(|sizes, left, right, name| {
            for way in ways().into_iter().chain([exact as Way]) {
                let alone = one.install(|| result(way, sizes, left, right));
                let shared = three.install(|| result(way, sizes, left, right));
                assert_eq!(alone, shared, "{name}");
            }
        });
    }

    #[test]
    fn factors_are_rounded_to_nearest_and_ties_to_even() {
        // 1 + 2^-8 is halfway between 1 and 1 + 2^-7; 1 + 3 · 2^-8 between 1 + 2^-7 and 1 + 2^-6.
        let bits = 2f32.powi(-8);
        for (value, expected) in [
            (1.0 + bits, 1.0),
            (1.0 + 3.0 * bits, 1.0 + 4.0 * bits),
            (1.0 + bits * 1.01, 1.0 + 2.0 * bits),
            (-1.0 - bits, -1.0),
            (f32::INFINITY, f32::INFINITY),
        ] {
            for way in ways() {
                assert_eq!(by_one(way, value), expected, "{value}");
            }
        }
    }

    #[test]
    fn nan_stays_nan() {
        for bits in [0x7fff_ffff, 0xffff_ffff, 0x7fc0_0000] {
            for way in ways() {
                assert!(by_one(way, f32::from_bits(bits)).is_nan(), "{bits:x}");
            }
        }
    }

    fn by_one(way: Way, value: f32) -> f32 {
        let (left, right, mut out) = ([value], [1.0], [0.0]);
        let (left, right) = (Matrix::rows(&left, 1), Matrix::rows(&right, 1));
        // SAFETY: factors and target have one element each.
        unsafe { way([1, 1, 1], left, right, Target::rows(SharedPointer::new(&mut out), 1), true) };
        out[0]
    }
}

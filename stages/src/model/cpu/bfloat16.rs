//! Matrix products whose factors are rounded to bfloat16 (to nearest, ties to even) and whose sums
//! are f32: by AVX-512's own instructions where the processor has them, else by f32 products of the
//! rounded factors, which take as long as any. Either way the order of a sum depends on shapes
//! alone; between the two the last bits may differ.

#[cfg(target_arch = "x86_64")]
mod avx512;

use half::bf16;
use rayon::prelude::*;

use super::product::{self, Matrix};

/// Whether this processor multiplies bfloat16 faster than f32.
pub fn is_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512bf16")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// As [`product::product`] over all cores, of rounded factors.
///
/// # Safety
///
/// As there. Each factor has unit stride along its rows or along its columns.
pub unsafe fn product(
    sizes: [usize; 3],
    left: Matrix,
    right: Matrix,
    out: (*mut f32, usize),
    factors: (f32, f32),
) {
    #[cfg(target_arch = "x86_64")]
    if is_fast() {
        // SAFETY: the processor has the instructions; the rest is as the caller promises.
        unsafe { avx512::product(sizes, left, right, out, factors) };
        return;
    }
    // SAFETY: as the caller promises.
    unsafe { by_f32(sizes, left, right, out, factors) };
}

/// # Safety
///
/// As [`product`].
unsafe fn by_f32(
    [m, k, n]: [usize; 3],
    left: Matrix,
    right: Matrix,
    out: (*mut f32, usize),
    factors: (f32, f32),
) {
    // SAFETY: as the caller promises.
    let (left, right) = unsafe { (rounded(left, m, k), rounded(right, k, n)) };
    let (left, right) = (Matrix::rows(&left, k), Matrix::rows(&right, n));
    // SAFETY: as the caller promises; the rounded factors have exactly these sizes.
    unsafe { product::product([m, k, n], left, right, out, factors, true) };
}

/// A factor `[rows, columns]`, row-major, of values that bfloat16 has.
///
/// # Safety
///
/// The matrix must lie within memory that is valid for these sizes.
unsafe fn rounded(of: Matrix, rows: usize, columns: usize) -> Vec<f32> {
    let mut result = vec![0.0; rows * columns];
    result.par_chunks_mut(columns.max(1)).enumerate().for_each(|(row, values)| {
        for (column, value) in values.iter_mut().enumerate() {
            // SAFETY: this element is within the matrix.
            *value = bf16::from_f32(unsafe { *of.at(row, column) }).to_f32();
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn numbers(name: &str, count: usize) -> Vec<f32> {
        let mut values = vec![0.0; count];
        Random::new(7, name, 0, 0).fill_uniform(&mut values);
        values.iter_mut().for_each(|value| *value -= 0.5);
        values
    }

    /// `m`, `k`, `n`: smaller than a tile, whole tiles, and ragged ones of several depths.
    const SIZES: [[usize; 3]; 7] = [
        [1, 1, 1],
        [5, 7, 3],
        [14, 32, 32],
        [15, 33, 35],
        [100, 77, 50],
        [130, 600, 97],
        [29, 1030, 300],
    ];

    /// Each factor as it is and transposed in memory.
    fn for_all_layouts(of: impl Fn([usize; 3], Matrix, Matrix, &str)) {
        for [m, k, n] in SIZES {
            let (left, right) = (numbers("left", m * k), numbers("right", k * n));
            for (left_turned, right_turned) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let turned = |values, rows, columns, turned| match turned {
                    true => Matrix::rows(values, rows).transposed(),
                    false => Matrix::rows(values, columns),
                };
                let left = turned(&left, m, k, left_turned);
                let right = turned(&right, k, n, right_turned);
                let name = format!("{m} x {k} x {n}, turned: {left_turned}, {right_turned}");
                of([m, k, n], left, right, &name);
            }
        }
    }

    type Way = unsafe fn([usize; 3], Matrix, Matrix, (*mut f32, usize), (f32, f32));

    fn result(way: Way, [m, k, n]: [usize; 3], left: Matrix, right: Matrix) -> Vec<f32> {
        let mut out = numbers("out", m * n);
        // SAFETY: all three have these sizes.
        unsafe { way([m, k, n], left, right, (out.as_mut_ptr(), n), (1.0, 0.5)) };
        out
    }

    #[test]
    fn products_are_those_of_the_rounded_factors() {
        for_all_layouts(|[m, k, n], left, right, name| {
            // SAFETY: both have these sizes.
            let (exact_left, exact_right) = unsafe { (rounded(left, m, k), rounded(right, k, n)) };
            let before = numbers("out", m * n);
            for way in [product as Way, by_f32 as Way] {
                let found = result(way, [m, k, n], left, right);
                for (index, found) in found.iter().enumerate() {
                    let (row, column) = (index / n, index % n);
                    let sum: f64 = (0..k)
                        .map(|at| {
                            f64::from(exact_left[row * k + at])
                                * f64::from(exact_right[at * n + column])
                        })
                        .sum();
                    let expected = f64::from(before[index]) + 0.5 * sum;
                    let error = (expected - f64::from(*found)).abs();
                    assert!(error < 5e-5, "{name}: {found} at {index}, not {expected}");
                }
            }
        });
    }

    #[test]
    fn products_do_not_depend_on_the_number_of_threads() {
        let with = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (one, three) = (with(1), with(3));
        for_all_layouts(|sizes, left, right, name| {
            let alone = one.install(|| result(product, sizes, left, right));
            let shared = three.install(|| result(product, sizes, left, right));
            assert_eq!(alone, shared, "{name}");
        });
    }

    #[test]
    fn factors_are_rounded_to_nearest_and_ties_to_even() {
        // 1 + 2^-8 lies between 1 and 1 + 2^-7, 1 + 3 · 2^-8 between that and 1 + 2^-6.
        let bits = 2f32.powi(-8);
        for (value, expected) in [
            (1.0 + bits, 1.0),
            (1.0 + 3.0 * bits, 1.0 + 4.0 * bits),
            (1.0 + bits * 1.01, 1.0 + 2.0 * bits),
        ] {
            let (left, right) = ([value], [1.0]);
            let mut out = [0.0];
            let (left, right) = (Matrix::rows(&left, 1), Matrix::rows(&right, 1));
            // SAFETY: all three have one element.
            unsafe { product([1, 1, 1], left, right, (out.as_mut_ptr(), 1), (0.0, 1.0)) };
            assert_eq!(out, [expected], "{value}");
        }
    }
}

//! Matrix products in f32, computed by the `gemm` crate.

use gemm::{Parallelism, gemm};

use super::are_rows_apart;
use super::matrix::{Matrix, SharedPointer, Target};

/// [`super::product::product`] in f32. Within [`super::rows_apart`] a product that is `spread` adds
/// up each row in the same order, however many rows there are.
///
/// # Safety
///
/// As for [`super::product::product`].
pub(super) unsafe fn exact(
    sizes: [usize; 3],
    left: Matrix,
    right: Matrix,
    target: Target,
    spread: bool,
) {
    let [m, k, n] = sizes;
    // SAFETY: the caller guarantees what all three require, which is the same.
    unsafe {
        if spread && are_rows_apart() {
            // `gemm` has other methods for one column, and other blocks along `k` for few columns
            // and rows.
            if n == 1 || (n <= FEW_COLUMNS && k > ONE_BLOCK) {
                return row_by_row(sizes, left, right, target);
            }
            // And another one for one row.
            if m == 1 {
                return one_of_two(sizes, left, right, target);
            }
        }
        blocked(sizes, left, right, target, spread);
    }
}

/// Up to so many rows and columns, `gemm` divides `k` into blocks of [`ONE_BLOCK`]; with more, into
/// equal ones that are not smaller.
const FEW_COLUMNS: usize = 64;
const ONE_BLOCK: usize = 512;

/// Adds up each element on its own, in the order of `k`.
///
/// # Safety
///
/// As for [`exact`].
unsafe fn row_by_row([m, k, n]: [usize; 3], left: Matrix, right: Matrix, target: Target) {
    let bias = target.bias(n);
    for row in 0..m {
        for column in 0..n {
            // SAFETY: the caller guarantees that these elements exist, and that nobody else uses
            // the target.
            unsafe {
                let term = |at: usize| *left.at(row, at) * *right.at(at, column);
                let sum = (0..k).map(term).sum::<f32>() * target.scale;
                let out = target.from(row, column).pointer(1, 1);
                *out = match bias {
                    Some(bias) => *bias.add(column) + sum,
                    None if target.accumulates => *out + sum,
                    None => sum,
                };
            }
        }
    }
}

/// The product of one row, as that of the first of two equal rows.
///
/// # Safety
///
/// As for [`exact`], with one row and a target that is not added to.
unsafe fn one_of_two([_, k, n]: [usize; 3], left: Matrix, right: Matrix, target: Target) {
    debug_assert!(!target.accumulates);
    // SAFETY: the caller guarantees a row of `k` elements, and a target for `n`. The copies have
    // exactly the sizes of two rows.
    unsafe {
        let row: Vec<f32> = (0..k).map(|at| *left.at(0, at)).collect();
        let mut both = vec![0.0; 2 * n];
        let to_both = target.into(SharedPointer::new(&mut both), n);
        blocked([2, k, n], Matrix::rows(&row.repeat(2), k), right, to_both, false);
        std::ptr::copy_nonoverlapping(both.as_ptr(), target.pointer(1, n), n);
    }
}

/// # Safety
///
/// As for [`exact`].
unsafe fn blocked(
    [m, k, n]: [usize; 3],
    left: Matrix,
    right: Matrix,
    target: Target,
    spread: bool,
) {
    let parallelism = if spread && rayon::current_num_threads() > 1 {
        Parallelism::Rayon(0)
    } else {
        Parallelism::None
    };
    let bias = target.bias(n);
    // SAFETY: the caller guarantees that the factors and the target are valid for these sizes and
    // that nobody else uses the target.
    unsafe {
        if let Some(bias) = bias {
            for row in 0..m {
                std::ptr::copy_nonoverlapping(bias, target.from(row, 0).pointer(1, n), n);
            }
        }
        gemm(
            m,
            n,
            k,
            target.pointer(m, n),
            1,
            target.row_stride as isize,
            bias.is_some() || target.accumulates,
            left.pointer(m, k),
            left.column_stride as isize,
            left.row_stride as isize,
            right.pointer(k, n),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            target.scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows_apart;
    use super::*;
    use crate::model::cpu::random::numbers;

    fn product([m, k, n]: [usize; 3], left: &[f32], right: &[f32], bias: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; m * n];
        let target = Target::rows(SharedPointer::new(&mut out), n).plus(bias);
        let (left, right) = (Matrix::rows(left, k), Matrix::rows(right, n));
        // SAFETY: factors, bias and target have exactly these sizes.
        unsafe { exact([m, k, n], left, right, target, true) };
        out
    }

    #[test]
    fn a_row_has_the_same_product_however_many_rows_there_are() {
        for [k, n] in [[384, 384], [1536, 384], [768, 2], [1024, 64], [600, 65], [768, 1], [32, 3]]
        {
            let most = 300;
            let (left, right) = (numbers("left", most * k), numbers("right", k * n));
            let bias = numbers("bias", n);
            rows_apart(|| {
                let all = product([most, k, n], &left, &right, &bias);
                for rows in [1, 2, 3, 7, 14, 31, 64, 65, 131] {
                    for first in [0, 5, most - rows] {
                        let some = product([rows, k, n], &left[first * k..], &right, &bias);
                        let same = some == all[first * n..][..rows * n];
                        assert!(same, "{rows} rows of {k} x {n} from {first} on");
                    }
                }
            });
        }
    }
}

//! Matrix products in f32, computed by the `gemm` crate.

use gemm::{Parallelism, gemm};

use super::matrix::{Matrix, Target};

/// [`super::product::product`] in f32.
///
/// # Safety
///
/// As for [`super::product::product`].
pub(super) unsafe fn exact(
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

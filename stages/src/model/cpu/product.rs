//! Matrix products on slices: in f32 by the `gemm` crate, in bfloat16 by [`super::bfloat16`].

use gemm::{Parallelism, gemm};

use super::bfloat16;
use crate::model::ops::Precision;

/// A matrix somewhere in memory: element (row, column) lies at `row · row_stride + column ·
/// column_stride`.
#[derive(Clone, Copy)]
pub struct Matrix {
    pub data: *const f32,
    pub row_stride: usize,
    pub column_stride: usize,
}

impl Matrix {
    /// Row-major rows of `width` elements.
    pub fn rows(values: &[f32], width: usize) -> Matrix {
        Matrix { data: values.as_ptr(), row_stride: width, column_stride: 1 }
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Matrix {
        let Matrix { data, row_stride, column_stride } = self;
        Matrix { data, row_stride: column_stride, column_stride: row_stride }
    }

    /// The address of an element.
    pub fn at(&self, row: usize, column: usize) -> *const f32 {
        self.data.wrapping_add(row * self.row_stride + column * self.column_stride)
    }
}

// SAFETY: whoever reads through the pointer states why it may.
unsafe impl Send for Matrix {}
// SAFETY: as above.
unsafe impl Sync for Matrix {}

/// [`product`] over all cores, in this precision.
///
/// # Safety
///
/// As there. Each factor has unit stride along its rows or along its columns.
pub unsafe fn product_in(
    precision: Precision,
    sizes: [usize; 3],
    left: Matrix,
    right: Matrix,
    out: (*mut f32, usize),
    factors: (f32, f32),
) {
    // SAFETY: as the caller promises.
    unsafe {
        match precision {
            Precision::F32 => product(sizes, left, right, out, factors, true),
            Precision::Bf16 => bfloat16::product(sizes, left, right, out, factors),
        }
    }
}

/// `out = keep · out + scale · left · right`, where `left` is `[m, k]`, `right` `[k, n]` and
/// `out` has unit column stride. With `keep` of 0 what `out` held is not read.
///
/// # Safety
///
/// Both matrices and `out` must lie within memory that is valid for these sizes, and nobody else
/// may use `out` meanwhile.
pub unsafe fn product(
    [m, k, n]: [usize; 3],
    left: Matrix,
    right: Matrix,
    (out, out_row_stride): (*mut f32, usize),
    (keep, scale): (f32, f32),
    parallel: bool,
) {
    let parallelism = if parallel && rayon::current_num_threads() > 1 {
        Parallelism::Rayon(0)
    } else {
        Parallelism::None
    };
    // SAFETY: as the caller promises.
    unsafe {
        gemm(
            m,
            n,
            k,
            out,
            1,
            out_row_stride as isize,
            keep != 0.0,
            left.data,
            left.column_stride as isize,
            left.row_stride as isize,
            right.data,
            right.column_stride as isize,
            right.row_stride as isize,
            keep,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

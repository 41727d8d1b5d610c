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

/// Where a product goes: `out = scale · left · right + bias`.
#[derive(Clone, Copy)]
pub struct Target {
    /// Element (row, column) lies at `row · row_stride + column`.
    pub out: *mut f32,
    pub row_stride: usize,
    pub scale: f32,
    /// Added to every row, if there is one.
    pub bias: Option<*const f32>,
}

// SAFETY: whoever writes through the pointers states why it may.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    /// The plain product, in rows of `width` elements.
    pub fn rows(out: *mut f32, width: usize) -> Target {
        Target { out, row_stride: width, scale: 1.0, bias: None }
    }

    /// Multiplied by `scale`.
    pub fn scaled(self, scale: f32) -> Target {
        Target { scale, ..self }
    }

    /// With this added to every row.
    pub fn plus(self, bias: &[f32]) -> Target {
        Target { bias: Some(bias.as_ptr()), ..self }
    }

    /// What begins at this element.
    pub fn at(self, row: usize, column: usize) -> Target {
        let out = self.out.wrapping_add(row * self.row_stride + column);
        Target { out, bias: self.bias.map(|bias| bias.wrapping_add(column)), ..self }
    }
}

/// `left · right` into `target`, where `left` is `[m, k]` and `right` `[k, n]`; over all cores if it is
/// to be `spread`. What the target held is not read. The order of a sum depends on shapes alone.
///
/// # Safety
///
/// The matrices and the target must lie within memory that is valid for these sizes, and nobody else
/// may use the target meanwhile. Each factor has unit stride along its rows or along its columns.
pub unsafe fn product(
    precision: Precision,
    sizes: [usize; 3],
    left: Matrix,
    right: Matrix,
    target: Target,
    spread: bool,
) {
    // SAFETY: as the caller promises.
    unsafe {
        match precision {
            Precision::F32 => exact(sizes, left, right, target, spread),
            Precision::Bf16 => bfloat16::product(sizes, left, right, target, spread),
        }
    }
}

/// [`product`] in f32.
///
/// # Safety
///
/// As there.
pub unsafe fn exact(
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
    // SAFETY: as the caller promises.
    unsafe {
        if let Some(bias) = target.bias {
            for row in 0..m {
                std::ptr::copy_nonoverlapping(bias, target.at(row, 0).out, n);
            }
        }
        gemm(
            m,
            n,
            k,
            target.out,
            1,
            target.row_stride as isize,
            target.bias.is_some(),
            left.data,
            left.column_stride as isize,
            left.row_stride as isize,
            right.data,
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

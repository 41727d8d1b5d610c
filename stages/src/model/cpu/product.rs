//! Matrix products on slices: in f32 by [`super::exact`], in bfloat16 by [`super::bfloat16`].

use super::bfloat16;
use super::exact::exact;
use super::matrix::{Matrix, Target};
use crate::model::precision::Precision;

/// Writes `left · right` to `target`, where `left` is `[m, k]` and `right` is `[k, n]`. `spread`
/// uses all cores. Earlier values of the target are not read. The order of each sum depends on
/// shapes alone.
///
/// # Safety
///
/// The matrices and the target must lie in memory that is valid for these sizes, and nothing else
/// may access the target during the call. Each factor must have unit stride along its rows or its
/// columns.
pub(super) unsafe fn product(
    precision: Precision,
    sizes: [usize; 3],
    left: Matrix,
    right: Matrix,
    target: Target,
    spread: bool,
) {
    // SAFETY: the caller guarantees what both functions require, which is the same.
    unsafe {
        match precision {
            Precision::F32 | Precision::Tf32 | Precision::Int8 => {
                exact(sizes, left, right, target, spread)
            }
            Precision::Bf16 => bfloat16::product(sizes, left, right, target, spread),
        }
    }
}

//! The number formats of the factors of products.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::{ElemType, FloatKind};

use super::contiguous;
use crate::model::precision::Precision;

/// The format in which a tensor is multiplied.
pub(super) fn factor_type(precision: Precision) -> DType {
    match precision {
        Precision::F32 | Precision::Tf32 | Precision::Int8 => DType::F32,
        Precision::Bf16 => DType::BF16,
    }
}

/// The tensor in the format in which it is multiplied. Without gaps if it has none.
pub(super) fn factor(tensor: CubeTensor, precision: Precision) -> CubeTensor {
    let wanted = factor_type(precision);
    if tensor.dtype == wanted {
        return tensor;
    }
    contiguous(burn_cubecl::kernel::cast(tensor, wanted))
}

/// The element type of a tensor in the kernels.
pub(super) fn element(dtype: DType) -> ElemType {
    let kind = if dtype == DType::BF16 { FloatKind::BF16 } else { FloatKind::F32 };
    ElemType::Float(kind)
}

//! The number formats of the factors of products.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::{ElemType, FloatKind};

use super::operation::{Operation, run};
use super::{Value, contiguous};
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

/// The same tensor, whose gradient is in f32, for operations of burn: those that follow may give it in the
/// format of factors. On the CPU it stays as it is.
pub fn with_gradient_in_floats<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match Value::of(&tensor) {
        Some(value) => run(InFloats, [value]).tensor(),
        None => tensor,
    }
}

#[derive(Clone, Debug)]
struct InFloats;

impl Operation<1> for InFloats {
    type Saved = ();

    fn forward(&self, [tensor]: [CubeTensor; 1]) -> (CubeTensor, ()) {
        (tensor, ())
    }

    fn backward(&self, _: (), gradient: CubeTensor, _: [bool; 1]) -> [Option<CubeTensor>; 1] {
        [Some(factor(gradient, Precision::F32))]
    }
}

/// The element type of a tensor in the kernels.
pub(super) fn element(dtype: DType) -> ElemType {
    let kind = if dtype == DType::BF16 { FloatKind::BF16 } else { FloatKind::F32 };
    ElemType::Float(kind)
}

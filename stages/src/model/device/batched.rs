//! Products of many small matrices in f32, for attention without a kernel. burn's own would round
//! their factors to TF32 on a GPU with tensor cores.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;

use super::operation::{Operation, run};
use super::products::usual;
use super::trial::launch;
use super::{contiguous, empty, values};
use crate::model::precision::Precision;

/// `left right`; `None` if the tensors are not on a GPU.
///
/// # Shapes
///
/// `left` is `[rows, heads, m, k]`, `right` is `[rows, heads, k, n]`. The result is
/// `[rows, heads, m, n]`.
pub fn products(left: &Tensor<4>, right: &Tensor<4>) -> Option<Tensor<4>> {
    Some(run(Products, values!(left, right)?).tensor())
}

#[derive(Clone, Debug)]
struct Products;

impl Operation<2> for Products {
    type Saved = [CubeTensor; 2];

    fn forward(&self, factors: [CubeTensor; 2]) -> (CubeTensor, [CubeTensor; 2]) {
        let [left, right] = factors.map(contiguous);
        (multiply(&left, &right), [left, right])
    }

    fn backward(
        &self,
        [left, right]: [CubeTensor; 2],
        gradient: CubeTensor,
        wanted: [bool; 2],
    ) -> [Option<CubeTensor>; 2] {
        let gradient = contiguous(gradient);
        [
            wanted[0].then(|| multiply(&gradient, &turned(&right))),
            wanted[1].then(|| multiply(&turned(&left), &gradient)),
        ]
    }
}

fn multiply(left: &CubeTensor, right: &CubeTensor) -> CubeTensor {
    let (left_shape, right_shape) = (left.shape(), right.shape());
    let shape = [left_shape[0], left_shape[1], left_shape[2], right_shape[3]];
    let output = empty(left, shape, DType::F32);
    let launched = launch(&usual(Precision::F32), left, right, &output);
    launched.unwrap_or_else(|error| panic!("matrix products on the device: {error}"));
    output
}

/// A view of matrices as their transposes.
fn turned(matrices: &CubeTensor) -> CubeTensor {
    let mut view = matrices.clone();
    view.meta.swap(2, 3);
    view
}

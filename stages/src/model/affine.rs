//! The parameters of a linear layer, borrowed.

use burn::tensor::Tensor;

/// `y = x W + b`.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// `[in, out]`
    pub weight: &'a Tensor<2>,
    /// `[out]`
    pub bias: &'a Tensor<1>,
}

//! The parameters of a linear layer, as operations take them.

use burn::tensor::Tensor;

/// `y = x W + b`.
#[derive(Clone, Debug)]
pub struct Affine {
    /// `[in, out]`
    pub weight: Tensor<2>,
    /// `[out]`; zeros for a layer without bias.
    pub bias: Tensor<1>,
}

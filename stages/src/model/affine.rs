//! The parameters of a linear layer, as operations take them.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};

use super::cpu::int8::Int8Weight;

/// `y = x W + b`.
#[derive(Clone, Debug)]
pub struct Affine {
    pub weight: Weight,
    /// `[out]`; zeros for a layer without bias.
    pub bias: Tensor<1>,
}

/// The weight of a linear layer.
#[derive(Clone, Debug)]
pub enum Weight {
    /// `[in, out]`
    Floats(Box<Tensor<2>>),
    /// Rounded, for inference on the CPU.
    Int8(Arc<Int8Weight>),
}

impl Weight {
    /// `[in, out]`
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Weight::Floats(weight) => weight.dims(),
            Weight::Int8(weight) => weight.dims(),
        }
    }

    pub fn device(&self) -> Device {
        match self {
            Weight::Floats(weight) => weight.device(),
            Weight::Int8(_) => Device::flex(),
        }
    }

    /// `None` if it is not rounded.
    pub fn rounded(&self) -> Option<&Int8Weight> {
        match self {
            Weight::Floats(_) => None,
            Weight::Int8(weight) => Some(weight),
        }
    }

    /// `None` if it is rounded.
    #[cfg(feature = "device")]
    pub fn floats(&self) -> Option<&Tensor<2>> {
        match self {
            Weight::Floats(weight) => Some(weight.as_ref()),
            Weight::Int8(_) => None,
        }
    }
}

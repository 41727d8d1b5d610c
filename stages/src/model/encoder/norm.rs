//! Layer norm, alone and after a residual sum.

use burn::tensor::{Device, Tensor};

use crate::model::affine::Affine;
use crate::model::noise::Mask;
use crate::model::ops::{self, Factor};
use crate::model::parameters::{Parameter, ParameterSource, Start, vector};
use crate::model::precision::Precision;

/// Normalises the last axis to mean 0 and variance 1 (biased), then scales and shifts.
/// Ba et al. 2016.
#[derive(Clone, Debug)]
pub(super) struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    pub(super) fn new(
        source: &mut dyn ParameterSource,
        name: &str,
        size: usize,
        eps: f64,
        device: &Device,
    ) -> LayerNorm {
        LayerNorm {
            weight: vector(source, &format!("{name}.weight"), size, Start::Ones, device),
            bias: vector(source, &format!("{name}.bias"), size, Start::Zeros, device),
            eps,
        }
    }

    /// Normalises `dropout(linear(input)) + residual`.
    pub(super) fn after(
        &self,
        linear: (Affine, &Factor),
        input: Tensor<3>,
        residual: Tensor<3>,
        mask: Option<Mask>,
        precision: Precision,
    ) -> Tensor<3> {
        let norm = (&self.weight, &self.bias, self.eps);
        ops::linear_add_norm(input, linear, residual, mask, norm, precision)
    }

    /// Weight, bias and epsilon.
    #[cfg(feature = "device")]
    pub(super) fn parameters(&self) -> (&Tensor<1>, &Tensor<1>, f64) {
        (&self.weight, &self.bias, self.eps)
    }

    pub(super) fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let (weight, bias) = (self.weight.clone(), Some(self.bias.clone()));
        burn::tensor::module::layer_norm(input, weight, bias, self.eps)
    }

    pub(super) fn collect<'a>(&'a mut self, name: &str, into: &mut Vec<(String, Parameter<'a>)>) {
        into.push((format!("{name}.weight"), Parameter::Vector(&mut self.weight)));
        into.push((format!("{name}.bias"), Parameter::Vector(&mut self.bias)));
    }
}

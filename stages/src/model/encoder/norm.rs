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
pub(in crate::model) struct LayerNorm {
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    eps: f64,
}

/// The names and shape of a norm.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct NormShape {
    pub(in crate::model) size: usize,
    pub(in crate::model) eps: f64,
    pub(in crate::model) has_bias: bool,
}

impl LayerNorm {
    pub(in crate::model) fn new(
        source: &mut dyn ParameterSource,
        name: &str,
        shape: NormShape,
        device: &Device,
    ) -> LayerNorm {
        let NormShape { size, eps, has_bias } = shape;
        let weight = vector(source, &format!("{name}.weight"), size, Start::Ones, device);
        let bias = || format!("{name}.bias");
        let bias = has_bias.then(|| vector(source, &bias(), size, Start::Zeros, device));
        LayerNorm { weight, bias, eps }
    }

    /// Normalises `dropout(linear(input)) + residual`.
    pub(super) fn after(
        &self,
        linear: (&Affine, &Factor),
        input: Tensor<3>,
        residual: Tensor<3>,
        mask: Option<Mask>,
        precision: Precision,
    ) -> Tensor<3> {
        let norm = (&self.weight, &self.bias(), self.eps);
        ops::linear_add_norm(input, linear, residual, mask, norm, precision)
    }

    /// Normalises.
    pub(in crate::model) fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        burn::tensor::module::layer_norm(input, self.weight.clone(), self.bias.clone(), self.eps)
    }

    /// [`Self::forward`] in one pass, for a result that only products read.
    pub(super) fn fused(&self, input: Tensor<3>, precision: Precision) -> Tensor<3> {
        ops::norm(input, (&self.weight, &self.bias(), self.eps), precision)
    }

    /// Weight and epsilon.
    #[cfg(feature = "device")]
    pub(super) fn parameters(&self) -> (&Tensor<1>, f64) {
        (&self.weight, self.eps)
    }

    /// `[size]`; zeros without bias.
    pub(super) fn bias(&self) -> Tensor<1> {
        let zeros = || Tensor::zeros(self.weight.dims(), &self.weight.device());
        self.bias.clone().unwrap_or_else(zeros)
    }

    pub(in crate::model) fn collect<'a>(
        &'a mut self,
        name: &str,
        into: &mut Vec<(String, Parameter<'a>)>,
    ) {
        into.push((format!("{name}.weight"), Parameter::Vector(&mut self.weight)));
        if let Some(bias) = &mut self.bias {
            into.push((format!("{name}.bias"), Parameter::Vector(bias)));
        }
    }
}

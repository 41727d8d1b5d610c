//! One layer, of either form.

use burn::tensor::{Device, Tensor};

use super::layer_name::LayerName;
use super::pass::Pass;
use super::post_norm::PostNorm;
use super::pre_norm::PreNorm;
use crate::family::LayerForm;
use crate::model::config::ModelConfig;
#[cfg(feature = "device")]
use crate::model::device::weights::LayerWeights;
use crate::model::parameters::{Parameter, ParameterSource};

/// Self-attention and a feed-forward network, each followed by a residual sum.
#[derive(Clone, Debug)]
pub(super) enum Layer {
    PostNorm(Box<PostNorm>),
    PreNorm(Box<PreNorm>),
}

impl Layer {
    pub(super) fn new(
        config: &ModelConfig,
        index: usize,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Layer {
        match config.family.layer.form {
            LayerForm::PostNorm => {
                Layer::PostNorm(Box::new(PostNorm::new(config, index, source, device)))
            }
            LayerForm::PreNormGated { .. } => {
                Layer::PreNorm(Box::new(PreNorm::new(config, index, source, device)))
            }
        }
    }

    /// # Shapes
    ///
    /// Maps `[rows, width, hidden]` to `[rows, queries, hidden]`: the first `queries` tokens attend
    /// to all tokens.
    pub(super) fn forward(&self, states: Tensor<3>, queries: usize, pass: &Pass) -> Tensor<3> {
        match self {
            Layer::PostNorm(layer) => layer.forward(states, queries, pass),
            Layer::PreNorm(layer) => layer.forward(states, queries, pass),
        }
    }

    /// The tokens at `positions`, row-major indices into `[rows, width]`, attend to all tokens.
    ///
    /// # Shapes
    ///
    /// `[rows, width, hidden]` to `[positions, hidden]`.
    pub(super) fn forward_chosen(
        &self,
        states: Tensor<3>,
        positions: &[usize],
        pass: &Pass,
    ) -> Tensor<2> {
        match self {
            Layer::PostNorm(layer) => layer.forward_chosen(states, positions, pass),
            Layer::PreNorm(layer) => layer.forward_chosen(states, positions, pass),
        }
    }

    /// The weights of the linear layers; `None` if they are rounded.
    #[cfg(feature = "device")]
    pub(super) fn weights(&self) -> Option<LayerWeights<'_>> {
        let (projections, others) = match self {
            Layer::PostNorm(layer) => layer.linears(),
            Layer::PreNorm(layer) => layer.linears(),
        };
        let [projections, others] = [projections, others].map(|linears| {
            linears.into_iter().map(|linear| linear.weight.floats()).collect::<Option<Vec<_>>>()
        });
        Some((projections?, others?))
    }

    pub(super) fn collect<'a>(
        &'a mut self,
        name: LayerName,
        into: &mut Vec<(String, Parameter<'a>)>,
    ) {
        match self {
            Layer::PostNorm(layer) => layer.collect(name, into),
            Layer::PreNorm(layer) => layer.collect(name, into),
        }
    }
}

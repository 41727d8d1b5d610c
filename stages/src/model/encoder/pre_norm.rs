//! ModernBERT's layer (Warner et al. 2024): norms before attention and before a gated feed-forward
//! network, rotary positions, and in some layers a window.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, assert_shape};

use super::layer_name::LayerName;
use super::norm::{LayerNorm, NormShape};
use super::pass::{Pass, PassPositions};
use super::tokens::chosen;
use crate::family::{Activation, OutputDropout};
use crate::model::config::{AttentionConfig, ModelConfig};
use crate::model::noise::{Mask, Site};
use crate::model::ops;
use crate::model::parameters::{Linear, Parameter, ParameterSource};

/// Attention and a gated feed-forward network over normalised states, each added to the states.
#[derive(Clone, Debug)]
pub(super) struct PreNorm {
    index: usize,
    /// Whether tokens see only those within the window.
    is_local: bool,
    /// `None` in the first layer: the embeddings are normalised.
    attention_norm: Option<LayerNorm>,
    /// Query, key and value side by side.
    projections: Linear,
    attention_output: Linear,
    /// Before the feed-forward network.
    output_norm: LayerNorm,
    /// Input and gate side by side.
    intermediate: Linear,
    output: Linear,
    activation: Activation,
    output_dropout: OutputDropout,
}

impl PreNorm {
    pub(super) fn new(
        config: &ModelConfig,
        index: usize,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> PreNorm {
        let (name, names) = (LayerName { family: config.family, index }, &config.family.layer);
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let (form, biases) = (&config.form, config.form.biases);
        let shape = NormShape { size: hidden, eps: form.layer_norm_eps, has_bias: biases.norms };
        let mut linear = |part: &str, shape, has_bias| {
            Linear::with_bias(source, &name.of(part), shape, has_bias, device)
        };
        let projections = linear(names.projections[0], [hidden, 3 * hidden], biases.attention);
        let attention_output = linear(names.attention_output, [hidden, hidden], biases.attention);
        let intermediate = linear(names.intermediate, [hidden, 2 * wide], biases.feed_forward);
        let output = linear(names.output, [wide, hidden], biases.feed_forward);
        let mut norm = |part: &str| LayerNorm::new(source, &name.of(part), shape, device);
        PreNorm {
            index,
            is_local: match &config.attention {
                AttentionConfig::Rotary(rotary) => rotary.local.get(index) == Some(&true),
                _ => false,
            },
            attention_norm: (index > 0).then(|| norm(names.attention_norm)),
            projections,
            attention_output,
            output_norm: norm(names.output_norm),
            intermediate,
            output,
            activation: form.activation,
            output_dropout: names.attention_output_dropout,
        }
    }

    /// See [`super::layer::Layer::forward`].
    pub(super) fn forward(&self, states: Tensor<3>, queries: usize, pass: &Pass) -> Tensor<3> {
        let [rows, width, _] = states.dims();
        let attended = self.attend(states.clone(), queries, pass);
        let residual = if queries == width { states } else { states.slice([0..rows, 0..queries]) };
        self.transform(attended, residual, pass, |site, rate| pass.mask(site, rows, rate))
    }

    /// See [`super::layer::Layer::forward_chosen`].
    pub(super) fn forward_chosen(
        &self,
        states: Tensor<3>,
        positions: &[usize],
        pass: &Pass,
    ) -> Tensor<2> {
        let [rows, width, hidden] = states.dims();
        let alone =
            |states: Tensor<3>| chosen(states, positions).reshape([positions.len(), 1, hidden]);
        let attended = alone(self.attend(states.clone(), width, pass));
        let output = self.transform(attended, alone(states), pass, |site, rate| {
            let mask = pass.mask(site, rows, rate);
            let features = self.features_of(site);
            mask.map(|mask| mask.of_tokens(positions, width, features))
        });
        output.reshape([positions.len(), hidden]) // from [positions, 1, hidden]
    }

    /// # Shapes
    ///
    /// `[rows, width, hidden]` to `[rows, queries, hidden]`.
    fn attend(&self, states: Tensor<3>, queries: usize, pass: &Pass) -> Tensor<3> {
        let [rows, ..] = states.dims();
        let normalised = match &self.attention_norm {
            Some(norm) => norm.fused(states, pass.precision),
            None => states,
        };
        let mut options = pass.attention(self.index, rows);
        if let PassPositions::Rotations { rotations, window } = &pass.positions {
            options.rotation = Some(Arc::clone(&rotations[usize::from(self.is_local)]));
            options.window = self.is_local.then_some(*window);
        }
        let factor = pass.projections(self.index);
        let projected = self.projections.forward_by(normalised, &factor, pass.precision);
        ops::joint_attention(projected, queries, options)
    }

    /// The token-wise part that follows attention. Input and result have the same shape
    /// `[…, hidden]`. `mask` returns the dropout mask of a site with a rate.
    fn transform(
        &self,
        attended: Tensor<3>,
        residual: Tensor<3>,
        pass: &Pass,
        mask: impl Fn(Site, f64) -> Option<Mask>,
    ) -> Tensor<3> {
        let (layer, precision) = (self.index, pass.precision);
        let [rows, queries, hidden] = residual.dims();
        assert_shape!(attended, [rows, queries, hidden]);
        let factors = [0, 1, 2].map(|nth| pass.factor(layer, nth));
        let attended = self.attention_output.forward_by(attended, &factors[0], precision);
        let of_output =
            mask(Site::AttentionOutput { layer }, pass.output_rate(self.output_dropout));
        let states = ops::dropout(attended, of_output.as_ref()) + residual;
        let normalised = self.output_norm.fused(states.clone(), precision);
        let wide = self.intermediate.forward_by(normalised, &factors[1], precision);
        let of_wide = mask(Site::FeedForward { layer }, pass.rates.hidden);
        let wide = ops::gated(wide, self.activation, of_wide.as_ref(), precision);
        states + self.output.forward_by(wide, &factors[2], precision)
    }

    /// The features that a site's mask covers.
    fn features_of(&self, site: Site) -> usize {
        match site {
            Site::FeedForward { .. } => self.output.weight.dims()[0],
            _ => self.output.weight.dims()[1],
        }
    }

    /// Those for query, key and value, and the others in the order of their factors.
    #[cfg(feature = "device")]
    pub(super) fn linears(&self) -> (Vec<&Linear>, Vec<&Linear>) {
        let others = vec![&self.attention_output, &self.intermediate, &self.output];
        (vec![&self.projections], others)
    }

    pub(super) fn collect<'a>(
        &'a mut self,
        name: LayerName,
        into: &mut Vec<(String, Parameter<'a>)>,
    ) {
        let names = &name.family.layer;
        if let Some(norm) = &mut self.attention_norm {
            norm.collect(&name.of(names.attention_norm), into);
        }
        self.projections.collect(&name.projection(0), into);
        self.attention_output.collect(&name.of(names.attention_output), into);
        self.output_norm.collect(&name.of(names.output_norm), into);
        self.intermediate.collect(&name.of(names.intermediate), into);
        self.output.collect(&name.of(names.output), into);
    }
}

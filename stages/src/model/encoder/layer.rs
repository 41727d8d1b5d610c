//! One layer: self-attention and a feed-forward network.

use burn::tensor::{Device, Tensor, assert_shape};

use super::dropout::DropoutRates;
use super::norm::LayerNorm;
use crate::model::config::{Family, ModelConfig};
use crate::model::cpu::attention::AttentionOptions;
#[cfg(feature = "device")]
use crate::model::device::{inputs::Inputs, weights::LayerFactors};
use crate::model::noise::{Mask, Noise, Site};
use crate::model::ops::{self, Factor};
use crate::model::parameters::{Linear, Parameter, ParameterSource};
use crate::model::precision::Precision;

/// The inputs that all layers of one forward pass share.
pub(in crate::model) struct Pass<'a> {
    /// Added to the scores of each key, `[rows, width]`; `None` without padding.
    pub(super) padding: Option<Vec<f32>>,
    /// MPNet's relative attention bias, added to the scores: `[1, heads, width, width]`.
    pub(super) relative: Option<Tensor<4>>,
    pub(super) heads: usize,
    pub(super) rates: DropoutRates,
    pub(super) precision: Precision,
    pub(super) noise: Option<&'a Noise>,
    /// On a GPU, what has been sent there for this pass.
    #[cfg(feature = "device")]
    pub(super) inputs: Option<Inputs>,
    /// On a GPU, the weights of each layer as they are multiplied.
    #[cfg(feature = "device")]
    pub(super) factors: Option<Vec<LayerFactors>>,
}

impl Pass<'_> {
    /// The dropout mask of a site; `None` if nothing is dropped.
    pub(in crate::model) fn mask(&self, site: Site, rows: usize, rate: f64) -> Option<Mask> {
        let mask = self.noise.and_then(|noise| noise.mask(site, rows, rate));
        #[cfg(feature = "device")]
        let mask = mask
            .map(|mask| mask.with_sent(self.inputs.as_ref().and_then(|inputs| inputs.keys(site))));
        mask
    }

    /// The weights of a layer's query, key and value side by side.
    #[cfg(feature = "device")]
    fn projections(&self, layer: usize) -> Factor {
        Factor::new(self.factors.as_ref().map(|layers| &layers[layer].projections))
    }

    /// The weight of the `nth` other linear layer.
    #[cfg(feature = "device")]
    fn factor(&self, layer: usize, nth: usize) -> Factor {
        Factor::new(self.factors.as_ref().and_then(|layers| layers[layer].others.get(nth)))
    }

    #[cfg(not(feature = "device"))]
    fn projections(&self, _: usize) -> Factor {
        Factor::default()
    }

    #[cfg(not(feature = "device"))]
    fn factor(&self, _: usize, _: usize) -> Factor {
        Factor::default()
    }
}

/// The tensor names of one layer.
pub(super) struct LayerNames {
    query: String,
    key: String,
    value: String,
    attention_output: String,
    attention_norm: String,
    intermediate: String,
    output: String,
    output_norm: String,
}

impl LayerNames {
    pub(super) fn new(family: Family, index: usize) -> LayerNames {
        let of = |part: &str| format!("encoder.layer.{index}.{part}");
        let mpnet = family == Family::Mpnet;
        let either = |bert: &str, other: &str| of(if mpnet { other } else { bert });
        LayerNames {
            query: either("attention.self.query", "attention.attn.q"),
            key: either("attention.self.key", "attention.attn.k"),
            value: either("attention.self.value", "attention.attn.v"),
            attention_output: either("attention.output.dense", "attention.attn.o"),
            attention_norm: either("attention.output.LayerNorm", "attention.LayerNorm"),
            intermediate: of("intermediate.dense"),
            output: of("output.dense"),
            output_norm: of("output.LayerNorm"),
        }
    }
}

/// Self-attention and a feed-forward network, each followed by a residual sum and layer norm.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    index: usize,
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

impl Layer {
    pub(super) fn new(
        config: &ModelConfig,
        index: usize,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Layer {
        let names = LayerNames::new(config.family, index);
        let (hidden, wide, eps) =
            (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let square = [hidden, hidden];
        Layer {
            index,
            query: Linear::new(source, &names.query, square, device),
            key: Linear::new(source, &names.key, square, device),
            value: Linear::new(source, &names.value, square, device),
            attention_output: Linear::new(source, &names.attention_output, square, device),
            attention_norm: LayerNorm::new(source, &names.attention_norm, hidden, eps, device),
            intermediate: Linear::new(source, &names.intermediate, [hidden, wide], device),
            output: Linear::new(source, &names.output, [wide, hidden], device),
            output_norm: LayerNorm::new(source, &names.output_norm, hidden, eps, device),
        }
    }

    /// # Shapes
    ///
    /// Maps `[rows, width, hidden]` to `[rows, queries, hidden]`: the first `queries` tokens attend
    /// to all tokens.
    pub(super) fn forward(&self, states: Tensor<3>, queries: usize, pass: &Pass) -> Tensor<3> {
        let [rows, width, _] = states.dims();
        assert_shape!(states, [_, _, self.hidden()]);
        let asking = if queries == width {
            states.clone()
        } else {
            states.clone().slice([0..rows, 0..queries])
        };
        let attended = self.attend(asking.clone(), states, pass);
        self.transform(attended, asking, pass, |site| pass.mask(site, rows, pass.rates.hidden))
    }

    /// # Shapes
    ///
    /// `[rows, queries, hidden]` and `[rows, width, hidden]` to `[rows, queries, hidden]`.
    pub(super) fn attend(&self, asking: Tensor<3>, states: Tensor<3>, pass: &Pass) -> Tensor<3> {
        let ([rows, ..], precision) = (states.dims(), pass.precision);
        assert_shape!(asking, [rows, _, self.hidden()]);
        assert_shape!(states, [rows, _, self.hidden()]);
        let site = Site::AttentionProbabilities { layer: self.index };
        let options = AttentionOptions {
            heads: pass.heads,
            padding: pass.padding.clone(),
            mask: pass.mask(site, rows, pass.rates.attention),
            precision,
            #[cfg(feature = "device")]
            spans: pass.inputs.as_ref().and_then(|inputs| inputs.spans.clone()),
        };
        let projections = (
            [&self.query, &self.key, &self.value].map(Linear::affine),
            &pass.projections(self.index),
        );
        ops::self_attention(asking, states, projections, pass.relative.as_ref(), options)
    }

    /// The token-wise part that follows attention. Input and result have the same shape
    /// `[…, hidden]`. `mask` returns the dropout mask of a site.
    pub(super) fn transform(
        &self,
        attended: Tensor<3>,
        residual: Tensor<3>,
        pass: &Pass,
        mask: impl Fn(Site) -> Option<Mask>,
    ) -> Tensor<3> {
        let (layer, precision) = (self.index, pass.precision);
        let [rows, queries, hidden] = residual.dims();
        assert_shape!(attended, [rows, queries, hidden]);
        let factors = [0, 1, 2].map(|nth| pass.factor(layer, nth));
        let linear = (self.attention_output.affine(), &factors[0]);
        let of_sum = mask(Site::AttentionOutput { layer });
        let attended = self.attention_norm.after(linear, attended, residual, of_sum, precision);
        let wide =
            ops::linear_gelu(attended.clone(), self.intermediate.affine(), &factors[1], precision);
        let (linear, of_sum) =
            ((self.output.affine(), &factors[2]), mask(Site::FeedForward { layer }));
        self.output_norm.after(linear, wide, attended, of_sum, precision)
    }

    /// The weights of query, key and value, and of the other linear layers in order.
    #[cfg(feature = "device")]
    pub(super) fn weights(&self) -> ([&Tensor<2>; 3], Vec<&Tensor<2>>) {
        let projections = [&self.query, &self.key, &self.value];
        let others = [&self.attention_output, &self.intermediate, &self.output];
        (projections.map(|it| &it.weight), others.map(|it| &it.weight).to_vec())
    }

    fn hidden(&self) -> usize {
        self.query.weight.dims()[0]
    }

    pub(super) fn collect<'a>(
        &'a mut self,
        names: &LayerNames,
        into: &mut Vec<(String, Parameter<'a>)>,
    ) {
        self.query.collect(&names.query, into);
        self.key.collect(&names.key, into);
        self.value.collect(&names.value, into);
        self.attention_output.collect(&names.attention_output, into);
        self.attention_norm.collect(&names.attention_norm, into);
        self.intermediate.collect(&names.intermediate, into);
        self.output.collect(&names.output, into);
        self.output_norm.collect(&names.output_norm, into);
    }
}

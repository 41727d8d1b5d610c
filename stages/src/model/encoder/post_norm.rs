//! A layer that normalises after each residual sum: BERT's, and those of all families before
//! ModernBERT.

use burn::tensor::{Device, Tensor, assert_shape};

use super::distances::DistanceProjections;
use super::layer_name::LayerName;
use super::norm::{LayerNorm, NormShape};
use super::pass::{Pass, PassPositions};
use super::tokens::chosen;
use crate::family::{Activation, OutputDropout};
use crate::model::config::ModelConfig;
use crate::model::cpu::attention::Relative;
use crate::model::noise::{Mask, Site};
use crate::model::ops;
use crate::model::parameters::{Linear, Parameter, ParameterSource};

/// Self-attention and a feed-forward network, each followed by a residual sum and layer norm.
#[derive(Clone, Debug)]
pub(super) struct PostNorm {
    index: usize,
    query: Linear,
    key: Linear,
    value: Linear,
    /// DeBERTa's projections of positions, if it does not use those of query and key.
    positions: Option<DistanceProjections>,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    output_dropout: OutputDropout,
}

impl PostNorm {
    pub(super) fn new(
        config: &ModelConfig,
        index: usize,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> PostNorm {
        let (name, names) = (LayerName { family: config.family, index }, &config.family.layer);
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let eps = config.form.layer_norm_eps;
        let norm = NormShape { size: hidden, eps, has_bias: true };
        let square = [hidden, hidden];
        PostNorm {
            index,
            query: Linear::new(source, &name.projection(0), square, device),
            key: Linear::new(source, &name.projection(1), square, device),
            value: Linear::new(source, &name.projection(2), square, device),
            positions: DistanceProjections::new(config, name, source, device),
            attention_output: Linear::new(source, &name.of(names.attention_output), square, device),
            attention_norm: LayerNorm::new(source, &name.of(names.attention_norm), norm, device),
            intermediate: Linear::new(source, &name.of(names.intermediate), [hidden, wide], device),
            output: Linear::new(source, &name.of(names.output), [wide, hidden], device),
            output_norm: LayerNorm::new(source, &name.of(names.output_norm), norm, device),
            activation: config.form.activation,
            output_dropout: names.attention_output_dropout,
        }
    }

    /// See [`super::layer::Layer::forward`].
    pub(super) fn forward(&self, states: Tensor<3>, queries: usize, pass: &Pass) -> Tensor<3> {
        let [rows, width, _] = states.dims();
        assert_shape!(states, [_, _, self.hidden()]);
        let asking = if queries == width {
            states.clone()
        } else {
            states.clone().slice([0..rows, 0..queries])
        };
        let attended = self.attend(asking.clone(), states, pass);
        self.transform(attended, asking, pass, |site, rate| pass.mask(site, rows, rate))
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
        let attended = alone(self.attend(states.clone(), states.clone(), pass));
        let output = self.transform(attended, alone(states), pass, |site, rate| {
            let mask = pass.mask(site, rows, rate);
            mask.map(|mask| mask.of_tokens(positions, width, hidden))
        });
        output.reshape([positions.len(), hidden]) // from [positions, 1, hidden]
    }

    /// # Shapes
    ///
    /// `[rows, queries, hidden]` and `[rows, width, hidden]` to `[rows, queries, hidden]`.
    fn attend(&self, asking: Tensor<3>, states: Tensor<3>, pass: &Pass) -> Tensor<3> {
        let [rows, ..] = states.dims();
        assert_shape!(asking, [rows, _, self.hidden()]);
        assert_shape!(states, [rows, _, self.hidden()]);
        let options = pass.attention(self.index, rows);
        let projections = [&self.query, &self.key, &self.value].map(Linear::affine);
        let factor = pass.projections(self.index);
        let relative = match &pass.positions {
            PassPositions::Absent | PassPositions::Rotations { .. } => Relative::Absent,
            PassPositions::Bias(bias) => Relative::Bias(Box::new(bias.clone())),
            PassPositions::Table(table) => {
                let own = self.positions.as_ref();
                let [of_query, of_key, _] = factor.apart();
                let shared = [(&self.key, of_key), (&self.query, of_query)];
                Relative::Products(Box::new(table.projected(own, shared, self.index, pass)))
            }
        };
        ops::self_attention(asking, states, (&projections, &factor), &relative, options)
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
        let of_sum = mask(Site::AttentionOutput { layer }, pass.output_rate(self.output_dropout));
        let affine = self.attention_output.affine();
        let linear = (&affine, &factors[0]);
        let attended = self.attention_norm.after(linear, attended, residual, of_sum, precision);
        let wide = ops::linear_activation(
            attended.clone(),
            &self.intermediate.affine(),
            self.activation,
            &factors[1],
            precision,
        );
        let of_sum = mask(Site::FeedForward { layer }, pass.rates.hidden);
        let affine = self.output.affine();
        self.output_norm.after((&affine, &factors[2]), wide, attended, of_sum, precision)
    }

    /// Those for query, key and value, and the others in the order of their factors.
    #[cfg(feature = "device")]
    pub(super) fn linears(&self) -> (Vec<&Linear>, Vec<&Linear>) {
        let others = vec![&self.attention_output, &self.intermediate, &self.output];
        (vec![&self.query, &self.key, &self.value], others)
    }

    fn hidden(&self) -> usize {
        self.query.weight.dims()[0]
    }

    pub(super) fn collect<'a>(
        &'a mut self,
        name: LayerName,
        into: &mut Vec<(String, Parameter<'a>)>,
    ) {
        let names = &name.family.layer;
        self.query.collect(&name.projection(0), into);
        self.key.collect(&name.projection(1), into);
        self.value.collect(&name.projection(2), into);
        if let Some(positions) = &mut self.positions {
            positions.collect(name, into);
        }
        self.attention_output.collect(&name.of(names.attention_output), into);
        self.attention_norm.collect(&name.of(names.attention_norm), into);
        self.intermediate.collect(&name.of(names.intermediate), into);
        self.output.collect(&name.of(names.output), into);
        self.output_norm.collect(&name.of(names.output_norm), into);
    }
}

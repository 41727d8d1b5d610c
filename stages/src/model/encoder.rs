//! The encoder. Families differ in tensor names, in what they know of positions, and in where they
//! normalise; [`crate::family`] describes them.
//!
//! # Map of the network
//!
//! ```text
//! ids, types                       [rows, width]
//!   │ words[ids] + types[types] + positions            Embeddings::forward
//!   │ layer norm, dropout
//! states                           [rows, width, hidden]
//!   │
//!   ├─ for each layer                                  PostNorm::forward
//!   │    query = states Wq + bq    [rows, queries, hidden]
//!   │    key, value                [rows, width, hidden]
//!   │    scores                    [rows, heads, queries, width]      ops::self_attention
//!   │      = query keyᵀ / sqrt(hidden / heads) + padding + relative (MPNet, DeBERTa)
//!   │    attended                  [rows, queries, hidden]
//!   │      = dropout(softmax(scores)) value
//!   │    x = norm(dropout(attended Wo + bo) + states)
//!   │    wide = gelu(x W1 + b1)    [rows, queries, intermediate]
//!   │    states = norm(dropout(wide W2 + b2) + x)
//!   │
//!   ├─ or, in ModernBERT                               PreNorm::forward
//!   │    query, key, value = norm(states) W            [rows, width, 3 hidden]
//!   │    attended                  rotated queries and keys           ops::joint_attention
//!   │    x = dropout(attended Wo) + states
//!   │    input, gate = norm(x) Wi  [rows, queries, 2 intermediate]
//!   │    states = x + dropout(gelu(input) gate) Wo
//!   │
//!   ├─ classifier                                      Encoder::pooled
//!   │    first token, or mean      [rows, hidden]
//!   │    head                      [rows, classes]     Classifier::logits
//!   │
//!   └─ masked language model                           Encoder::chosen
//!        tokens to predict         [positions, hidden]
//!        output layer              [positions, vocabulary]            MaskedLm::loss
//! ```
//!
//! `queries` equals `width`, except in the last layer of a classifier that reads only the first
//! token.

mod chosen;
mod distances;
mod dropout;
mod embeddings;
mod layer;
pub mod layer_name;
pub(super) mod norm;
mod pass;
mod positions;
mod post_norm;
mod pre_norm;
mod tokens;

use std::borrow::Cow;

use burn::tensor::{Device, Tensor, TensorData, assert_shape};

use super::batch::Batch;
use super::config::{AttentionConfig, ModelConfig, Pooling};
#[cfg(feature = "device")]
use super::device::{
    self,
    inputs::{Extras, Inputs, Numbers, Tokens},
    weights::{Copies, KeptFactors, LayerFactors},
};
use super::noise::Noise;
use super::ops;
use super::parameters::{Parameter, ParameterSource};
use super::precision::Precision;
use crate::family::{Attention, Family, LayerForm};
use distances::TokenConvolution;
use embeddings::Embeddings;
use layer::Layer;
use layer_name::LayerName;
use norm::{LayerNorm, NormShape};
use pass::PassPositions;
use positions::EncoderPositions;

pub use dropout::DropoutRates;
pub(super) use pass::Pass;

/// The network from token ids to the states of the last layer.
#[derive(Clone, Debug)]
pub struct Encoder {
    family: &'static Family,
    embeddings: Embeddings,
    layers: Vec<Layer>,
    final_norm: Option<LayerNorm>,
    positions: EncoderPositions,
    convolution: Option<TokenConvolution>,
    heads: usize,
    /// Scores are multiplied by it.
    scale: f32,
    rates: DropoutRates,
    precision: Precision,
    /// The weights as a GPU multiplies them.
    #[cfg(feature = "device")]
    factors: KeptFactors,
}

impl Encoder {
    pub fn new(
        config: &ModelConfig,
        rates: DropoutRates,
        precision: Precision,
        source: &mut dyn ParameterSource,
        device: &Device,
    ) -> Encoder {
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::new(config, index, source, device))
            .collect();
        let positions = EncoderPositions::new(config, source, device);
        let embeddings = Embeddings::new(config, source, device);
        let shape = NormShape {
            size: config.hidden_size,
            eps: config.form.layer_norm_eps,
            has_bias: config.form.biases.norms,
        };
        let final_norm = final_norm(config.family);
        let factor = match &config.attention {
            AttentionConfig::Disentangled(found) => found.factor(),
            _ => 1,
        };
        let size = config.hidden_size / config.num_attention_heads.max(1);
        Encoder {
            family: config.family,
            embeddings,
            layers,
            final_norm: final_norm.map(|name| LayerNorm::new(source, name, shape, device)),
            positions,
            convolution: TokenConvolution::new(config, source, device),
            heads: config.num_attention_heads,
            scale: 1.0 / ((factor * size) as f32).sqrt(),
            rates,
            precision,
            #[cfg(feature = "device")]
            factors: KeptFactors::default(),
        }
    }

    /// Where the copies of weights are that the passes so far have made on a GPU.
    #[cfg(feature = "device")]
    pub fn copies(&self) -> Option<Copies> {
        self.factors.copies()
    }

    /// On a GPU, the weights of each layer as they are multiplied.
    #[cfg(feature = "device")]
    fn layer_factors(&self) -> Option<Vec<LayerFactors>> {
        let weights: Option<Vec<_>> = self.layers.iter().map(Layer::weights).collect();
        self.factors.of(&weights?, self.precision)
    }

    /// The states before the last layer.
    fn below_last(&self, batch: &Batch, pass: &Pass) -> Tensor<3> {
        let mut states = self.embeddings.forward(batch, pass);
        let embeddings = self.convolution.is_some().then(|| states.clone());
        let below = self.layers.len().saturating_sub(1);
        for (index, layer) in self.layers.iter().take(below).enumerate() {
            states = layer.forward(states, batch.width, pass);
            if let (0, Some(convolution), Some(embeddings)) =
                (index, &self.convolution, &embeddings)
            {
                let real = real(batch, pass, &states.device());
                states = convolution.forward(embeddings.clone(), states, real, pass);
            }
        }
        states
    }

    /// The states after the norm that follows the last layer, if there is one.
    fn finished<const D: usize>(&self, states: Tensor<D>) -> Tensor<D> {
        match &self.final_norm {
            Some(norm) => norm.forward(states),
            None => states,
        }
    }

    /// The input of a classification head. If the head reads only the first token, the last layer
    /// computes only that token.
    ///
    /// # Shapes
    ///
    /// Result: `[rows, hidden]`.
    pub(super) fn pooled(&self, batch: &Batch, pooling: Pooling, pass: &Pass) -> Tensor<2> {
        let mut states = self.below_last(batch, pass);
        if let Some(last) = self.layers.last() {
            let queries = if pooling == Pooling::First { 1 } else { batch.width };
            states = last.forward(states, queries, pass);
        }
        let states = self.finished(states);
        let (rows, [.., hidden]) = (batch.rows, states.dims());
        assert_shape!(states, [rows, _, hidden]);
        match pooling {
            Pooling::First => states.slice([0..rows, 0..1]).reshape([rows, hidden]),
            Pooling::Mean => {
                #[cfg(feature = "device")]
                if let Some(shares) = pass.inputs.as_ref().and_then(Inputs::shares) {
                    return ops::mean_by(states, shares);
                }
                ops::mean(states, batch.shares())
            }
        }
    }

    /// What all layers share in a pass over `batch`. Dropout is active if `noise` is given.
    pub(super) fn pass<'a>(&self, batch: &Batch, noise: Option<&'a Noise>) -> Pass<'a> {
        self.pass_at(batch, noise, self.positions.of_width(batch.width, None))
    }

    fn pass_at<'a>(
        &self,
        batch: &Batch,
        noise: Option<&'a Noise>,
        positions: PassPositions,
    ) -> Pass<'a> {
        let padding = batch.has_padding().then(|| {
            // Not minus infinity, which would turn a row of padding into NaN.
            batch.mask.iter().map(|real| if *real { 0.0 } else { -1e30 }).collect()
        });
        Pass {
            padding,
            positions,
            heads: self.heads,
            scale: self.scale,
            rates: self.rates,
            precision: self.precision,
            noise,
            #[cfg(feature = "device")]
            inputs: None,
            #[cfg(feature = "device")]
            twins: Default::default(),
            #[cfg(feature = "device")]
            factors: self.layer_factors(),
        }
    }

    /// [`pass`](Self::pass), and on a GPU what it needs is sent there.
    pub(super) fn sending_pass<'a>(&self, batch: &Batch, noise: Option<&'a Noise>) -> Pass<'a> {
        #[cfg(feature = "device")]
        {
            let noises = noise.map(std::slice::from_ref).unwrap_or_default();
            let numbers = self.numbers(batch, Extras { noises, ..Extras::default() });
            if let Some(inputs) = numbers.and_then(|numbers| self.inputs(&numbers)) {
                return self.sent_pass(batch, noise, inputs);
            }
        }
        self.pass(batch, noise)
    }

    /// [`pass`](Self::pass), with what has been sent to a GPU.
    #[cfg(feature = "device")]
    pub(super) fn sent_pass<'a>(
        &self,
        batch: &Batch,
        noise: Option<&'a Noise>,
        inputs: Inputs,
    ) -> Pass<'a> {
        let positions = self.positions.of_width(batch.width, inputs.relative());
        Pass { inputs: Some(inputs), ..self.pass_at(batch, noise, positions) }
    }

    /// What passes over `batch` send to the device, if that is a GPU.
    #[cfg(feature = "device")]
    pub(super) fn numbers(&self, batch: &Batch, extras: Extras) -> Option<Numbers> {
        let (entries, most) = self.embeddings.entries(batch)?;
        let of_row = match &self.positions {
            EncoderPositions::Distances(table) => Some(table.features()),
            _ => None,
        };
        let tokens = Tokens {
            entries,
            most,
            layers: self.layers.len(),
            relative: self.positions.relative(batch.width),
            of_row,
            reads_real: self.convolution.is_some(),
        };
        Some(Numbers::new(batch, &tokens, extras))
    }

    /// Sends them.
    #[cfg(feature = "device")]
    pub(super) fn inputs(&self, numbers: &Numbers) -> Option<Inputs> {
        self.embeddings.inputs(numbers)
    }

    /// The batch as this device computes it: on a GPU its width is one of a few.
    pub(super) fn widened<'a>(&self, batch: &'a Batch) -> Cow<'a, Batch> {
        #[cfg(feature = "device")]
        if device::Value::of(&self.embeddings.words).is_some() {
            // A rotation is known for as many positions as the model has.
            let most = match &self.positions {
                EncoderPositions::Rotations { rotations: [first, _], .. } => {
                    first.cosines.len() / first.half.max(1)
                }
                _ => usize::MAX,
            };
            return Cow::Owned(self.embeddings.widened(batch, most));
        }
        Cow::Borrowed(batch)
    }

    /// Every parameter with its checkpoint name.
    pub fn parameters(&mut self) -> Vec<(String, Parameter<'_>)> {
        let (family, mut all) = (self.family, Vec::new());
        self.embeddings.collect(&mut all);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.collect(LayerName { family, index }, &mut all);
        }
        match (&mut self.positions, &family.attention) {
            (EncoderPositions::Buckets(bias), Attention::BucketBias { table }) => {
                all.push((format!("{table}.weight"), Parameter::Table(bias)));
            }
            (EncoderPositions::Distances(table), names) => table.collect(names, &mut all),
            _ => {}
        }
        if let (Some(convolution), Attention::Disentangled { convolution: name, .. }) =
            (&mut self.convolution, &family.attention)
        {
            convolution.collect(name, &mut all);
        }
        if let (Some(norm), Some(name)) = (&mut self.final_norm, final_norm(family)) {
            norm.collect(name, &mut all);
        }
        all.iter_mut().for_each(|(name, _)| name.insert_str(0, family.prefix));
        all
    }
}

/// 1 for each token of a batch and 0 for padding, `[rows, width, 1]`.
#[cfg_attr(not(feature = "device"), expect(unused_variables, reason = "a GPU has them already"))]
fn real(batch: &Batch, pass: &Pass, device: &Device) -> Tensor<3> {
    #[cfg(feature = "device")]
    if let Some(real) = pass.inputs.as_ref().and_then(Inputs::real) {
        return real;
    }
    #[cfg(feature = "device")]
    device::sent::note();
    let real = batch.mask.iter().map(|real| f32::from(u8::from(*real))).collect();
    Tensor::from_data(TensorData::new::<f32, _>(real, [batch.rows, batch.width, 1]), device)
}

/// The name of the norm after the last layer.
fn final_norm(family: &Family) -> Option<&'static str> {
    match family.layer.form {
        LayerForm::PreNormGated { final_norm } => Some(final_norm),
        LayerForm::PostNorm => None,
    }
}

//! The encoder of BERT, RoBERTa and MPNet. The three differ in tensor names, in how they count
//! positions, in token types, and in MPNet's relative attention bias.
//!
//! # Map of the network
//!
//! ```text
//! ids, types                       [rows, width]
//!   │ words[ids] + types[types] + positions            Embeddings::forward
//!   │ layer norm, dropout
//! states                           [rows, width, hidden]
//!   │
//!   ├─ for each layer                                  Layer::forward
//!   │    query = states Wq + bq    [rows, queries, hidden]
//!   │    key, value                [rows, width, hidden]
//!   │    scores                    [rows, heads, queries, width]      ops::attention
//!   │      = query keyᵀ / sqrt(hidden / heads) + padding + relative (MPNet)
//!   │    attended                  [rows, queries, hidden]
//!   │      = dropout(softmax(scores)) value
//!   │    x = norm(dropout(attended Wo + bo) + states)  Layer::transform
//!   │    wide = gelu(x W1 + b1)    [rows, queries, intermediate]
//!   │    states = norm(dropout(wide W2 + b2) + x)
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
//!
//! # Checkpoint names
//!
//! | here | BERT, RoBERTa | MPNet |
//! |---|---|---|
//! | `Embeddings::words` | `embeddings.word_embeddings.weight` | the same |
//! | `Embeddings::positions` | `embeddings.position_embeddings.weight` | the same |
//! | `Embeddings::types` | `embeddings.token_type_embeddings.weight` | none |
//! | `Embeddings::norm` | `embeddings.LayerNorm` | the same |
//! | `Attention::query` … | `encoder.layer.N.attention.self.query` … | `….attention.attn.q` … |
//! | `Attention::output` | `encoder.layer.N.attention.output.dense` | `….attention.attn.o` |
//! | `Layer::attention_norm` | `….attention.output.LayerNorm` | `….attention.LayerNorm` |
//! | `Layer::intermediate` | `….intermediate.dense` | the same |
//! | `Layer::output` | `….output.dense` | the same |
//! | `Layer::output_norm` | `….output.LayerNorm` | the same |
//! | `Encoder::relative_bias` | none | `encoder.relative_attention_bias.weight` |

mod chosen;
mod dropout;
mod embeddings;
mod layer;
mod norm;

use burn::tensor::{Device, Int, Tensor, TensorData, assert_shape};

use super::batch::Batch;
use super::config::{Family, ModelConfig, Pooling};
#[cfg(feature = "device")]
use super::device;
use super::noise::Noise;
use super::parameters::{Parameter, ParameterSource, table};
use super::precision::Precision;
use super::relative::relative_buckets;
use embeddings::Embeddings;
use layer::{Layer, LayerNames};

pub use dropout::DropoutRates;
pub(super) use layer::Pass;

/// The network from token ids to the states of the last layer.
#[derive(Clone, Debug)]
pub struct Encoder {
    embeddings: Embeddings,
    layers: Vec<Layer>,
    /// `[buckets, heads]`, shared by all layers.
    relative_bias: Option<Tensor<2>>,
    heads: usize,
    rates: DropoutRates,
    precision: Precision,
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
        let relative_bias = (config.family == Family::Mpnet).then(|| {
            let shape = [config.relative_attention_num_buckets, config.num_attention_heads];
            table(source, RELATIVE_BIAS, shape, device)
        });
        Encoder {
            embeddings: Embeddings::new(config, source, device),
            layers,
            relative_bias,
            heads: config.num_attention_heads,
            rates,
            precision,
        }
    }

    /// The input of a classification head. If the head reads only the first token, the last layer
    /// computes only that token.
    ///
    /// # Shapes
    ///
    /// Result: `[rows, hidden]`.
    pub(super) fn pooled(&self, batch: &Batch, pooling: Pooling, pass: &Pass) -> Tensor<2> {
        let mut states = self.embeddings.forward(batch, pass);
        let last = self.layers.len().saturating_sub(1);
        for (index, layer) in self.layers.iter().enumerate() {
            let one = index == last && pooling == Pooling::First;
            states = layer.forward(states, if one { 1 } else { batch.width }, pass);
        }
        let (rows, [.., hidden]) = (batch.rows, states.dims());
        assert_shape!(states, [rows, _, hidden]);
        let state = match pooling {
            Pooling::First => states.slice([0..rows, 0..1]),
            Pooling::Mean => {
                let shares = TensorData::new(batch.shares(), [rows, 1, batch.width]);
                Tensor::<3>::from_data(shares, &states.device()).matmul(states)
            }
        };
        state.reshape([rows, hidden]) // from [rows, 1, hidden]
    }

    /// What all layers share in a pass over `batch`. Dropout is active if `noise` is given.
    pub(super) fn pass<'a>(&self, batch: &Batch, noise: Option<&'a Noise>) -> Pass<'a> {
        let padding = batch.has_padding().then(|| {
            // Not minus infinity, which would turn a row of padding into NaN.
            batch.mask.iter().map(|real| if *real { 0.0 } else { -1e30 }).collect()
        });
        let width = batch.width;
        let relative = self.relative_bias.as_ref().map(|bias| {
            let [buckets, heads] = bias.dims();
            let indices = TensorData::new(relative_buckets(width, buckets), [width * width]);
            let indices = Tensor::<1, Int>::from_data(indices, &bias.device());
            let bias = bias.clone().select(0, indices).reshape([1, width, width, heads]);
            bias.permute([0, 3, 1, 2]) // [1, heads, width, width]
        });
        Pass {
            padding,
            relative,
            heads: self.heads,
            rates: self.rates,
            precision: self.precision,
            noise,
            #[cfg(feature = "device")]
            inputs: self.embeddings.inputs(batch, noise, self.layers.len()),
            #[cfg(feature = "device")]
            factors: {
                let weights: Vec<_> = self.layers.iter().map(Layer::weights).collect();
                device::weights::factors(&weights, self.precision)
            },
        }
    }

    /// Every parameter with its checkpoint name, without the prefix of the family.
    pub fn parameters(&mut self, family: Family) -> Vec<(String, Parameter<'_>)> {
        let mut all = Vec::new();
        self.embeddings.collect(&mut all);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            layer.collect(&LayerNames::new(family, index), &mut all);
        }
        if let Some(bias) = &mut self.relative_bias {
            all.push((RELATIVE_BIAS.to_owned(), Parameter::Table(bias)));
        }
        all
    }
}

/// The suffix of the name of the word embeddings.
pub const WORDS: &str = "embeddings.word_embeddings.weight";
const RELATIVE_BIAS: &str = "encoder.relative_attention_bias.weight";

//! The encoder of BERT, RoBERTa and MPNet, top to bottom. The three differ in names, in how
//! positions count, in token types, and in MPNet's relative attention bias; see the tables in
//! `CHECKPOINT NAMES` below.
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

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::batch::Batch;
use super::config::{Family, ModelConfig, Pooling};
use super::cpu::attention::Setting;
use super::noise::{Mask, Noise, Site};
use super::ops::{self, Precision};
use super::parameters::{Linear, Parameter, ParameterSource, Start, table, vector};
use super::relative::relative_buckets;

/// Rates of the dropout inside the encoder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutRates {
    pub hidden: f64,
    pub attention: f64,
}

/// The stack from token ids to the states of the last layer.
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

    /// What of the last layer enters a head. Where that is the first token, only that token is
    /// computed there.
    ///
    /// # Shapes
    ///
    /// Result: `[rows, hidden]`.
    pub fn pooled(&self, batch: &Batch, pooling: Pooling, noise: Option<&Noise>) -> Tensor<2> {
        let pass = self.pass(batch, noise);
        let mut states = self.embeddings.forward(batch, self.rates.hidden, noise);
        let last = self.layers.len().saturating_sub(1);
        for (index, layer) in self.layers.iter().enumerate() {
            let one = index == last && pooling == Pooling::First;
            states = layer.forward(states, if one { 1 } else { batch.width }, &pass);
        }
        let [rows, _, hidden] = states.dims();
        let state = match pooling {
            Pooling::First => states.slice([0..rows, 0..1]),
            Pooling::Mean => {
                let shares = TensorData::new(batch.shares(), [rows, 1, batch.width]);
                Tensor::<3>::from_data(shares, &states.device()).matmul(states)
            }
        };
        state.reshape([rows, hidden]) // from [rows, 1, hidden]
    }

    fn pass<'a>(&self, batch: &Batch, noise: Option<&'a Noise>) -> Pass<'a> {
        let padding = batch.has_padding().then(|| {
            // Not minus infinity: a row that is all padding must not become NaN.
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
        }
    }

    /// Every parameter under its checkpoint name, without the family's prefix.
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

/// What all layers of one forward pass share.
struct Pass<'a> {
    /// Added to the scores of each key, `[rows, width]`; absent where there is no padding.
    padding: Option<Vec<f32>>,
    /// Added to the scores of each pair, `[1, heads, width, width]`: MPNet's.
    relative: Option<Tensor<4>>,
    heads: usize,
    rates: DropoutRates,
    precision: Precision,
    noise: Option<&'a Noise>,
}

impl Pass<'_> {
    fn mask(&self, site: Site, rows: usize, rate: f64) -> Option<Mask> {
        self.noise.and_then(|noise| noise.mask(site, rows, rate))
    }
}

const RELATIVE_BIAS: &str = "encoder.relative_attention_bias.weight";

/// Words, positions and token types, summed and normalised.
#[derive(Clone, Debug)]
struct Embeddings {
    words: Tensor<2>,
    positions: Tensor<2>,
    types: Option<Tensor<2>>,
    norm: LayerNorm,
    /// RoBERTa and MPNet count positions from here and give padding this one; BERT counts all
    /// tokens from 0.
    positions_after_pad: Option<usize>,
    pad: usize,
}

impl Embeddings {
    fn new(config: &ModelConfig, source: &mut dyn ParameterSource, device: &Device) -> Embeddings {
        let hidden = config.hidden_size;
        let mut of = |name: &str, entries: usize| {
            table(
                source,
                &format!("embeddings.{name}_embeddings.weight"),
                [entries, hidden],
                device,
            )
        };
        let words = of("word", config.vocab_size);
        let positions = of("position", config.max_position_embeddings);
        let types = (config.type_vocab_size > 0).then(|| of("token_type", config.type_vocab_size));
        let norm =
            LayerNorm::new(source, "embeddings.LayerNorm", hidden, config.layer_norm_eps, device);
        let positions_after_pad = (config.family != Family::Bert).then_some(config.pad_token_id);
        Embeddings { words, positions, types, norm, positions_after_pad, pad: config.pad_token_id }
    }

    /// # Shapes
    ///
    /// Result: `[rows, width, hidden]`.
    fn forward(&self, batch: &Batch, rate: f64, noise: Option<&Noise>) -> Tensor<3> {
        let device = self.words.device();
        let (rows, width) = (batch.rows, batch.width);
        let hidden = self.words.dims()[1];
        let indices = |values: Vec<i32>| {
            Tensor::<2, Int>::from_data(TensorData::new(values, [rows, width]), &device)
        };
        let words = burn::tensor::module::embedding(self.words.clone(), indices(batch.ids.clone()));
        let mut states = words;
        if let Some(types) = &self.types {
            states = states
                + match &batch.types {
                    Some(ids) => {
                        burn::tensor::module::embedding(types.clone(), indices(ids.clone()))
                    }
                    None => types.clone().narrow(0, 0, 1).reshape([1, 1, hidden]),
                };
        }
        let positions = match self.positions_after_pad {
            // [rows, width] of positions that depend on the padding.
            Some(start) => {
                let positions = indices(positions_after_pad(batch, self.pad, start));
                burn::tensor::module::embedding(self.positions.clone(), positions)
            }
            None => self.positions.clone().narrow(0, 0, width).reshape([1, width, hidden]),
        };
        let states = self.norm.forward(states + positions);
        let mask = noise.and_then(|noise| noise.mask(Site::Embeddings, rows, rate));
        ops::dropout(states, mask.as_ref())
    }

    fn collect<'a>(&'a mut self, into: &mut Vec<(String, Parameter<'a>)>) {
        let name = |table: &str| format!("embeddings.{table}_embeddings.weight");
        into.push((name("word"), Parameter::Table(&mut self.words)));
        into.push((name("position"), Parameter::Table(&mut self.positions)));
        if let Some(types) = &mut self.types {
            into.push((name("token_type"), Parameter::Table(types)));
        }
        self.norm.collect("embeddings.LayerNorm", into);
    }
}

/// RoBERTa's positions: `cumsum(id ≠ pad) · (id ≠ pad) + pad`.
fn positions_after_pad(batch: &Batch, pad: usize, start: usize) -> Vec<i32> {
    let mut positions = Vec::with_capacity(batch.ids.len());
    for row in batch.ids.chunks(batch.width.max(1)) {
        let mut count = 0;
        for id in row {
            let real = *id != pad as i32;
            count += i32::from(real);
            positions.push(if real { count } else { 0 } + start as i32);
        }
    }
    positions
}

/// The names of one layer's tensors.
struct LayerNames {
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
    fn new(family: Family, index: usize) -> LayerNames {
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

/// Self-attention and a feed-forward network, each with residual and layer norm after it.
#[derive(Clone, Debug)]
struct Layer {
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
    fn new(
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
    /// `[rows, width, hidden]` to `[rows, queries, hidden]`: the first `queries` tokens attend
    /// to all.
    fn forward(&self, states: Tensor<3>, queries: usize, pass: &Pass) -> Tensor<3> {
        let [rows, width, _] = states.dims();
        let (layer, precision) = (self.index, pass.precision);
        let asking = if queries == width {
            states.clone()
        } else {
            states.clone().slice([0..rows, 0..queries])
        };
        let query = self.query.forward(asking.clone(), precision);
        let key = self.key.forward(states.clone(), precision);
        let value = self.value.forward(states, precision);
        let site = Site::AttentionProbabilities { layer };
        let setting = Setting {
            heads: pass.heads,
            padding: pass.padding.clone(),
            mask: pass.mask(site, rows, pass.rates.attention),
            precision,
        };
        let attended = ops::attention(query, key, value, pass.relative.as_ref(), setting);
        let attended = self.attention_output.forward(attended, precision);
        let mask = pass.mask(Site::AttentionOutput { layer }, rows, pass.rates.hidden);
        let attended = self.attention_norm.after(attended, asking, mask);

        let wide = ops::gelu(self.intermediate.forward(attended.clone(), precision));
        let output = self.output.forward(wide, precision);
        let mask = pass.mask(Site::FeedForward { layer }, rows, pass.rates.hidden);
        self.output_norm.after(output, attended, mask)
    }

    fn collect<'a>(&'a mut self, names: &LayerNames, into: &mut Vec<(String, Parameter<'a>)>) {
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

/// Normalises the last axis to mean 0 and variance 1 (biased), then scales and shifts.
/// Ba et al. 2016.
#[derive(Clone, Debug)]
struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    fn new(
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

    /// Of the sum of a residual and what a branch adds to it, after dropout.
    fn after(&self, branch: Tensor<3>, residual: Tensor<3>, mask: Option<Mask>) -> Tensor<3> {
        ops::add_norm(branch, residual, mask, &self.weight, &self.bias, self.eps)
    }

    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let (weight, bias) = (self.weight.clone(), Some(self.bias.clone()));
        burn::tensor::module::layer_norm(input, weight, bias, self.eps)
    }

    fn collect<'a>(&'a mut self, name: &str, into: &mut Vec<(String, Parameter<'a>)>) {
        into.push((format!("{name}.weight"), Parameter::Vector(&mut self.weight)));
        into.push((format!("{name}.bias"), Parameter::Vector(&mut self.bias)));
    }
}

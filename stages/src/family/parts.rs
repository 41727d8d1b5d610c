//! The parts of a description of a family.

use super::activation::Activation;

/// The names of the fields of `config.json`, and their published values, which a file may omit.
#[derive(Debug)]
pub struct ConfigFields {
    pub hidden_size: &'static str,
    pub layers: &'static str,
    pub heads: &'static str,
    pub intermediate_size: &'static str,
    pub activation: &'static str,
    pub layer_norm_eps: &'static str,
    pub embedding_dropout: &'static str,
    /// The rate inside the feed-forward network.
    pub dropout: &'static str,
    pub attention_dropout: &'static str,
    pub classifier_dropout: &'static str,
    /// What the head reads: `first` (or `cls`) or `mean`.
    pub pooling: &'static str,
    pub defaults: Defaults,
}

/// The published values of a family, which differ from the defaults of `transformers` in places.
#[derive(Debug)]
pub struct Defaults {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub intermediate_size: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// `None` if the family has no token types.
    pub types: Option<usize>,
    pub layer_norm_eps: f64,
    pub pad: usize,
    pub dropout: f64,
    pub attention_dropout: f64,
    /// `None`: that of the feed-forward network.
    pub classifier_dropout: Option<f64>,
}

/// The names of the embeddings' tensors, and how their table of positions is read.
#[derive(Debug)]
pub struct EmbeddingNames {
    pub words: &'static str,
    pub positions: Positions,
    pub types: &'static str,
    pub norm: &'static str,
    pub projection: Projection,
}

/// How tokens are looked up in the table of positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// All tokens from 0.
    FromZero(&'static str),
    /// From the one after that of padding: `cumsum(id ≠ pad) · (id ≠ pad) + pad`.
    AfterPadding(&'static str),
    /// From 0 if `position_biased_input` is true or absent, else there is no such table.
    IfBiased(&'static str),
    /// There is no table.
    Absent,
}

/// A linear layer between embeddings of `embedding_size` and states of `hidden_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// The sizes are equal.
    Absent,
    /// After the norm and dropout, if the sizes differ.
    AfterNorm(&'static str),
    /// Before the norm and without a bias, if the sizes differ.
    BeforeNorm(&'static str),
}

/// The names of a layer's tensors. Each follows `{layers}.N.`.
#[derive(Debug)]
pub struct LayerNames {
    pub layers: &'static str,
    pub form: LayerForm,
    /// One name for each of query, key and value, or a single one for all three.
    pub projections: &'static [&'static str],
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    pub intermediate: &'static str,
    pub output: &'static str,
    pub output_norm: &'static str,
    /// The dropout between the attention's output and the residual sum.
    pub attention_output_dropout: OutputDropout,
}

/// Where a layer normalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerForm {
    /// After each residual sum (Vaswani et al. 2017).
    PostNorm,
    /// Before attention, except in the first layer, and before a gated feed-forward network, with a
    /// norm of this name at the end; biases only where `config.json` asks for them.
    PreNormGated { final_norm: &'static str },
}

/// The rate of a dropout after attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputDropout {
    Absent,
    /// That of the feed-forward network.
    Hidden,
    /// That of the attention's probabilities.
    Attention,
}

/// What a token's scores know of positions, besides the table in the embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    Plain,
    /// A bias for the bucket of each distance, shared by all layers (Raffel et al. 2020).
    BucketBias {
        table: &'static str,
    },
    /// Products of content and position (He et al. 2021).
    Disentangled {
        table: &'static str,
        norm: &'static str,
        convolution: &'static str,
    },
    /// Rotated queries and keys (Su et al. 2021), with windows in some layers.
    Rotary,
}

/// The names of a classification head, `output(dropout(norm(activation(dense(x)))))`.
#[derive(Debug)]
pub struct HeadNames {
    pub dense: &'static str,
    /// Whether `dense` belongs to the encoder, so that its name has the family's prefix.
    pub is_pooler: bool,
    pub activation: ActivationOf,
    pub norm: Option<&'static str>,
    pub output: &'static str,
    pub input_dropout: InputDropout,
    /// Beginnings of the names of tensors that a new head initialises at random.
    pub new: &'static [&'static str],
    /// Beginnings of the names of tensors that a new head takes from a checkpoint which has them.
    pub may_lack: &'static [&'static str],
}

impl HeadNames {
    /// The name of the last weight, whose shape is `[classes, hidden]`.
    pub fn last_weight(&self) -> String {
        format!("{}.weight", self.output)
    }
}

/// Where an activation function comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationOf {
    Fixed(Activation),
    /// A field of `config.json`; GELU if it is absent.
    Field(&'static str),
}

/// The dropout before a head's first layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputDropout {
    Absent,
    /// That of the head.
    Classifier,
    /// A field of `config.json`; 0 if it is absent.
    Field(&'static str),
}

/// The names of the output layer of masked language modelling, `norm(activation(dense(x)))` times
/// the table of words, plus `bias`.
#[derive(Debug)]
pub struct MaskedLmNames {
    pub dense: &'static str,
    pub activation: ActivationOf,
    pub norm: &'static str,
    pub bias: &'static str,
    /// Another name of `bias`, under which some checkpoints store it.
    pub other_bias: Option<&'static str>,
    /// Beginnings of the names of tensors that are tied, or belong to other tasks.
    pub unused: &'static [&'static str],
}

impl MaskedLmNames {
    /// Whether a tensor belongs to the output layer.
    pub fn is_part(&self, name: &str) -> bool {
        let is = |layer: &str| {
            name.strip_prefix(layer).is_some_and(|part| [".weight", ".bias"].contains(&part))
        };
        is(self.dense) || is(self.norm) || name == self.bias
    }
}

/// What a tokenizer's files leave open.
#[derive(Debug)]
pub struct TokenDefaults {
    /// Special tokens by role.
    pub special: &'static [(&'static str, &'static str)],
    /// Whether the mask includes the space before it.
    pub mask_takes_space: bool,
    /// How word pieces of two texts are joined.
    pub pairs: PairForm,
}

/// The special tokens around two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairForm {
    /// `[CLS] A [SEP] B [SEP]`, with types 0 and 1.
    Bert,
    /// `<s> A </s></s> B </s>`, without types.
    Roberta,
}

//! BERT (Devlin et al. 2019).

use super::activation::Activation;
use super::description::Family;
use super::parts::{
    ActivationOf, Attention, ConfigFields, Defaults, EmbeddingNames, HeadNames, InputDropout,
    LayerForm, LayerNames, MaskedLmNames, OutputDropout, PairForm, Positions, Projection,
    TokenDefaults,
};

pub static BERT: Family = Family {
    name: "bert",
    architectures: &[("bert", "Bert")],
    config: ConfigFields { defaults: DEFAULTS, ..FIELDS },
    prefix: "bert.",
    embeddings: EMBEDDINGS,
    layer: LAYER,
    attention: Attention::Plain,
    head: HeadNames {
        dense: "pooler.dense",
        is_pooler: true,
        activation: ActivationOf::Fixed(Activation::Tanh),
        norm: None,
        output: "classifier",
        input_dropout: InputDropout::Absent,
        new: &["classifier."],
        may_lack: &["pooler."],
    },
    masked_lm: MASKED_LM,
    unused: &["cls."],
    other_tasks: &[],
    tokens: TOKENS,
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 30_522,
    hidden_size: 768,
    layers: 12,
    heads: 12,
    intermediate_size: 3072,
    positions: 512,
    types: Some(2),
    layer_norm_eps: 1e-12,
    pad: 0,
    dropout: 0.1,
    attention_dropout: 0.1,
    classifier_dropout: None,
};

/// The fields of BERT's `config.json`, which most families share.
pub(super) const FIELDS: ConfigFields = ConfigFields {
    hidden_size: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    intermediate_size: "intermediate_size",
    activation: "hidden_act",
    layer_norm_eps: "layer_norm_eps",
    embedding_dropout: "hidden_dropout_prob",
    dropout: "hidden_dropout_prob",
    attention_dropout: "attention_probs_dropout_prob",
    classifier_dropout: "classifier_dropout",
    pooling: "pooling",
    defaults: DEFAULTS,
};

pub(super) const EMBEDDINGS: EmbeddingNames = EmbeddingNames {
    words: "embeddings.word_embeddings",
    positions: Positions::FromZero("embeddings.position_embeddings"),
    types: "embeddings.token_type_embeddings",
    norm: "embeddings.LayerNorm",
    projection: Projection::Absent,
};

pub(super) const LAYER: LayerNames = LayerNames {
    layers: "encoder.layer",
    form: LayerForm::PostNorm,
    projections: &["attention.self.query", "attention.self.key", "attention.self.value"],
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
    attention_output_dropout: OutputDropout::Hidden,
};

pub(super) const MASKED_LM: MaskedLmNames = MaskedLmNames {
    dense: "cls.predictions.transform.dense",
    activation: ActivationOf::Field("hidden_act"),
    norm: "cls.predictions.transform.LayerNorm",
    bias: "cls.predictions.bias",
    other_bias: Some("cls.predictions.decoder.bias"),
    unused: &["cls.seq_relationship.", "cls.predictions.decoder."],
};

pub(super) const TOKENS: TokenDefaults = TokenDefaults {
    special: &[
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ],
    mask_takes_space: false,
    pairs: PairForm::Bert,
};

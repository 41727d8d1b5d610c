//! ELECTRA (Clark et al. 2020): BERT's layers over embeddings that may be narrower than the states.

use super::activation::Activation;
use super::bert::{EMBEDDINGS as BERT_EMBEDDINGS, FIELDS, LAYER, TOKENS};
use super::description::Family;
use super::parts::{
    ActivationOf, Attention, ConfigFields, Defaults, EmbeddingNames, HeadNames, MaskedLmNames,
    Projection,
};
use super::roberta::HEAD as ROBERTA_HEAD;

pub static ELECTRA: Family = Family {
    name: "electra",
    architectures: &[("electra", "Electra")],
    config: ConfigFields {
        defaults: Defaults {
            hidden_size: 256,
            heads: 4,
            intermediate_size: 1024,
            ..FIELDS.defaults
        },
        ..FIELDS
    },
    prefix: "electra.",
    embeddings: EmbeddingNames {
        projection: Projection::AfterNorm("embeddings_project"),
        ..BERT_EMBEDDINGS
    },
    layer: LAYER,
    attention: Attention::Plain,
    head: HeadNames { activation: ActivationOf::Fixed(Activation::Gelu), ..ROBERTA_HEAD },
    masked_lm: MaskedLmNames {
        dense: "generator_predictions.dense",
        activation: ActivationOf::Fixed(Activation::Gelu),
        norm: "generator_predictions.LayerNorm",
        bias: "generator_lm_head.bias",
        other_bias: None,
        unused: &["generator_lm_head.weight"],
    },
    unused: &["generator_predictions.", "generator_lm_head.", "discriminator_predictions."],
    other_tasks: &["discriminator_predictions."],
    tokens: TOKENS,
};

//! DeBERTa-v2 (He et al. 2021) and v3 (He et al. 2023), which has the same layers.

use super::bert::{EMBEDDINGS as BERT_EMBEDDINGS, FIELDS, LAYER as BERT_LAYER, MASKED_LM, TOKENS};
use super::description::Family;
use super::parts::{
    ActivationOf, Attention, ConfigFields, Defaults, EmbeddingNames, HeadNames, InputDropout,
    LayerNames, Positions, Projection,
};

pub static DEBERTA_V2: Family = Family {
    name: "deberta-v2",
    architectures: &[("deberta-v2", "DebertaV2")],
    config: ConfigFields {
        classifier_dropout: "cls_dropout",
        defaults: Defaults {
            vocab_size: 128_100,
            hidden_size: 1536,
            layers: 24,
            heads: 24,
            intermediate_size: 6144,
            types: Some(0),
            layer_norm_eps: 1e-7,
            ..FIELDS.defaults
        },
        ..FIELDS
    },
    prefix: "deberta.",
    embeddings: EmbeddingNames {
        positions: Positions::IfBiased("embeddings.position_embeddings"),
        projection: Projection::BeforeNorm("embeddings.embed_proj"),
        ..BERT_EMBEDDINGS
    },
    layer: LayerNames {
        projections: &[
            "attention.self.query_proj",
            "attention.self.key_proj",
            "attention.self.value_proj",
        ],
        ..BERT_LAYER
    },
    attention: Attention::Disentangled {
        table: "encoder.rel_embeddings",
        norm: "encoder.LayerNorm",
        convolution: "encoder.conv",
    },
    head: HeadNames {
        dense: "pooler.dense",
        is_pooler: false,
        activation: ActivationOf::Field("pooler_hidden_act"),
        norm: None,
        output: "classifier",
        input_dropout: InputDropout::Field("pooler_dropout"),
        new: &["classifier."],
        may_lack: &["pooler."],
    },
    masked_lm: MASKED_LM,
    unused: &[
        "cls.",
        "lm_predictions.",
        "mask_predictions.",
        "embeddings.word_embeddings._weight",
        "embeddings.position_embeddings.",
    ],
    other_tasks: &[
        "lm_predictions.",
        "mask_predictions.",
        "embeddings.word_embeddings._weight",
        "embeddings.position_embeddings.",
    ],
    tokens: TOKENS,
};

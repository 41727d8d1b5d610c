//! ModernBERT (Warner et al. 2024): rotary positions, local and global layers in turn, norms before
//! attention and before a gated feed-forward network.

use super::bert::{EMBEDDINGS as BERT_EMBEDDINGS, FIELDS, TOKENS};
use super::description::Family;
use super::parts::{
    ActivationOf, Attention, ConfigFields, Defaults, EmbeddingNames, HeadNames, InputDropout,
    LayerForm, LayerNames, MaskedLmNames, OutputDropout, Positions, TokenDefaults,
};

pub static MODERNBERT: Family = Family {
    name: "modernbert",
    architectures: &[("modernbert", "ModernBert")],
    config: ConfigFields {
        activation: "hidden_activation",
        layer_norm_eps: "norm_eps",
        embedding_dropout: "embedding_dropout",
        dropout: "mlp_dropout",
        attention_dropout: "attention_dropout",
        pooling: "classifier_pooling",
        defaults: Defaults {
            vocab_size: 50_368,
            layers: 22,
            intermediate_size: 1152,
            positions: 8192,
            types: None,
            layer_norm_eps: 1e-5,
            pad: 50_283,
            dropout: 0.0,
            attention_dropout: 0.0,
            ..FIELDS.defaults
        },
        ..FIELDS
    },
    prefix: "model.",
    embeddings: EmbeddingNames {
        words: "embeddings.tok_embeddings",
        positions: Positions::Absent,
        norm: "embeddings.norm",
        ..BERT_EMBEDDINGS
    },
    layer: LayerNames {
        layers: "layers",
        form: LayerForm::PreNormGated { final_norm: "final_norm" },
        projections: &["attn.Wqkv"],
        attention_output: "attn.Wo",
        attention_norm: "attn_norm",
        intermediate: "mlp.Wi",
        output: "mlp.Wo",
        output_norm: "mlp_norm",
        attention_output_dropout: OutputDropout::Attention,
    },
    attention: Attention::Rotary,
    head: HeadNames {
        dense: "head.dense",
        is_pooler: false,
        activation: ActivationOf::Field("classifier_activation"),
        norm: Some("head.norm"),
        output: "classifier",
        input_dropout: InputDropout::Absent,
        new: &["classifier."],
        may_lack: &["head."],
    },
    masked_lm: MaskedLmNames {
        dense: "head.dense",
        activation: ActivationOf::Field("classifier_activation"),
        norm: "head.norm",
        bias: "decoder.bias",
        other_bias: None,
        unused: &["decoder.weight"],
    },
    unused: &["decoder."],
    other_tasks: &[],
    tokens: TokenDefaults { mask_takes_space: true, ..TOKENS },
};

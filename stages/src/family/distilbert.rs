//! DistilBERT (Sanh et al. 2019): BERT's layers without token types and pooler.

use super::activation::Activation;
use super::bert::{EMBEDDINGS, FIELDS, TOKENS};
use super::description::Family;
use super::parts::{
    ActivationOf, Attention, ConfigFields, Defaults, HeadNames, InputDropout, LayerForm,
    LayerNames, MaskedLmNames, OutputDropout,
};

pub static DISTILBERT: Family = Family {
    name: "distilbert",
    architectures: &[("distilbert", "DistilBert")],
    config: ConfigFields {
        hidden_size: "dim",
        layers: "n_layers",
        heads: "n_heads",
        intermediate_size: "hidden_dim",
        activation: "activation",
        embedding_dropout: "dropout",
        dropout: "dropout",
        attention_dropout: "attention_dropout",
        classifier_dropout: "seq_classif_dropout",
        defaults: Defaults {
            layers: 6,
            types: None,
            classifier_dropout: Some(0.2),
            ..FIELDS.defaults
        },
        ..FIELDS
    },
    prefix: "distilbert.",
    embeddings: EMBEDDINGS,
    layer: LayerNames {
        layers: "transformer.layer",
        form: LayerForm::PostNorm,
        projections: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
        attention_output: "attention.out_lin",
        attention_norm: "sa_layer_norm",
        intermediate: "ffn.lin1",
        output: "ffn.lin2",
        output_norm: "output_layer_norm",
        attention_output_dropout: OutputDropout::Absent,
    },
    attention: Attention::Plain,
    head: HeadNames {
        dense: "pre_classifier",
        is_pooler: false,
        activation: ActivationOf::Fixed(Activation::Relu),
        norm: None,
        output: "classifier",
        input_dropout: InputDropout::Absent,
        new: &["pre_classifier.", "classifier."],
        may_lack: &[],
    },
    masked_lm: MaskedLmNames {
        dense: "vocab_transform",
        activation: ActivationOf::Field("activation"),
        norm: "vocab_layer_norm",
        bias: "vocab_projector.bias",
        other_bias: None,
        unused: &["vocab_projector.weight"],
    },
    unused: &["vocab_transform.", "vocab_layer_norm.", "vocab_projector."],
    other_tasks: &[],
    tokens: TOKENS,
};

//! MPNet (Song et al. 2020): RoBERTa's layout with one relative attention bias shared by all layers,
//! without token types.

use super::bert::{FIELDS, LAYER as BERT_LAYER};
use super::description::Family;
use super::parts::{Attention, ConfigFields, Defaults, LayerNames, PairForm, TokenDefaults};
use super::roberta::{EMBEDDINGS, HEAD, MASKED_LM};

pub static MPNET: Family = Family {
    name: "mpnet",
    architectures: &[("mpnet", "MPNet")],
    config: ConfigFields { defaults: DEFAULTS, ..FIELDS },
    prefix: "mpnet.",
    embeddings: EMBEDDINGS,
    layer: LayerNames {
        projections: &["attention.attn.q", "attention.attn.k", "attention.attn.v"],
        attention_output: "attention.attn.o",
        attention_norm: "attention.LayerNorm",
        ..BERT_LAYER
    },
    attention: Attention::BucketBias { table: "encoder.relative_attention_bias" },
    head: HEAD,
    masked_lm: MASKED_LM,
    unused: &["lm_head.", "pooler."],
    other_tasks: &["pooler."],
    tokens: TokenDefaults { special: &SPECIAL, mask_takes_space: true, pairs: PairForm::Roberta },
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 30_527,
    positions: 514,
    types: None,
    layer_norm_eps: 1e-5,
    pad: 1,
    ..FIELDS.defaults
};

const SPECIAL: [(&str, &str); 7] = [
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("unk_token", "[UNK]"),
    ("sep_token", "</s>"),
    ("pad_token", "<pad>"),
    ("cls_token", "<s>"),
    ("mask_token", "<mask>"),
];

//! RoBERTa (Liu et al. 2019), and what has its layers: Twitter-RoBERTa and BERTweet, XLM-RoBERTa
//! (Conneau et al. 2020) and CamemBERT (Martin et al. 2020).

use super::activation::Activation;
use super::bert::{EMBEDDINGS as BERT_EMBEDDINGS, FIELDS, LAYER};
use super::description::Family;
use super::parts::{
    ActivationOf, Attention, ConfigFields, Defaults, EmbeddingNames, HeadNames, InputDropout,
    MaskedLmNames, PairForm, Positions, TokenDefaults,
};

pub static ROBERTA: Family = Family {
    name: "roberta",
    architectures: &[
        ("roberta", "Roberta"),
        ("bertweet", "Roberta"),
        ("xlm-roberta", "XLMRoberta"),
        ("camembert", "Camembert"),
    ],
    config: ConfigFields { defaults: DEFAULTS, ..FIELDS },
    prefix: "roberta.",
    embeddings: EMBEDDINGS,
    layer: LAYER,
    attention: Attention::Plain,
    head: HEAD,
    masked_lm: MASKED_LM,
    unused: &["lm_head.", "pooler."],
    other_tasks: &["pooler."],
    tokens: TokenDefaults { special: &SPECIAL, mask_takes_space: true, pairs: PairForm::Roberta },
};

const DEFAULTS: Defaults = Defaults {
    vocab_size: 50_265,
    positions: 514,
    types: Some(1),
    layer_norm_eps: 1e-5,
    pad: 1,
    ..FIELDS.defaults
};

pub(super) const EMBEDDINGS: EmbeddingNames = EmbeddingNames {
    positions: Positions::AfterPadding("embeddings.position_embeddings"),
    ..BERT_EMBEDDINGS
};

pub(super) const HEAD: HeadNames = HeadNames {
    dense: "classifier.dense",
    is_pooler: false,
    activation: ActivationOf::Fixed(Activation::Tanh),
    norm: None,
    output: "classifier.out_proj",
    input_dropout: InputDropout::Classifier,
    new: &["classifier."],
    may_lack: &[],
};

pub(super) const MASKED_LM: MaskedLmNames = MaskedLmNames {
    dense: "lm_head.dense",
    activation: ActivationOf::Fixed(Activation::Gelu),
    norm: "lm_head.layer_norm",
    bias: "lm_head.bias",
    other_bias: Some("lm_head.decoder.bias"),
    unused: &["lm_head.decoder."],
};

pub(super) const SPECIAL: [(&str, &str); 7] = [
    ("bos_token", "<s>"),
    ("eos_token", "</s>"),
    ("unk_token", "<unk>"),
    ("sep_token", "</s>"),
    ("pad_token", "<pad>"),
    ("cls_token", "<s>"),
    ("mask_token", "<mask>"),
];

//! The parameters of `train-tokenizer`, and the tokens that they add to the learned ones.

use tokenizers::AddedToken;

use crate::data::corpus::{self, CorpusFormat};
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};

/// RoBERTa's special tokens in the order of their ids.
pub const SPECIAL: [&str; 5] = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];

pub const PARAMS: &[ParamSpec] = &[
    corpus::FORMAT,
    ParamSpec::new(
        "vocab_size",
        ParamKind::int(261, 10_000_000),
        Default::Int(12_000),
        "the most tokens that the vocabulary may have, special tokens included; it has fewer \
              if the texts lack frequent pairs",
    ),
    ParamSpec::new(
        "min_frequency",
        ParamKind::int(1, i64::MAX),
        Default::Int(2),
        "how often a pair must occur to become a token",
    ),
    ParamSpec::new(
        "keep",
        ParamKind::TextList,
        Default::TextList(&["@USER", "<URL>"]),
        "texts that are always one token each, whatever surrounds them",
    ),
    ParamSpec::new(
        "add_prefix_space",
        ParamKind::Bool,
        Default::Bool(true),
        "whether a word at the start of a text is the same token as within a text; with \
              RoBERTa's own tokenizer it is not",
    ),
];

/// The parameters of `train-tokenizer`, parsed.
#[derive(Clone, Debug)]
pub struct TrainTokenizerParams {
    pub format: CorpusFormat,
    pub vocab_size: usize,
    pub min_frequency: u64,
    pub keep: Vec<String>,
    pub add_prefix_space: bool,
}

impl TrainTokenizerParams {
    pub fn of(params: &Params) -> TrainTokenizerParams {
        TrainTokenizerParams {
            format: CorpusFormat::of(params, "format"),
            vocab_size: params.count("vocab_size"),
            min_frequency: params.int("min_frequency").unsigned_abs(),
            keep: params.texts("keep"),
            add_prefix_space: params.bool("add_prefix_space"),
        }
    }

    /// The special tokens and those to keep, in the order of their ids.
    pub fn added_tokens(&self) -> Vec<AddedToken> {
        // `lstrip` makes the mask and the kept tokens include the space before them, which would
        // be a token by itself otherwise.
        let special = SPECIAL
            .iter()
            .map(|text| AddedToken::from(*text, true).lstrip(*text == "<mask>").normalized(false));
        let keep = self.keep.iter();
        let keep = keep.map(|text| AddedToken::from(text, false).lstrip(true).normalized(false));
        special.chain(keep).collect()
    }
}

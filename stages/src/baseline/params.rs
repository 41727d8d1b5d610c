//! The parameters of `baseline`. Defaults of the n-grams are those that were best of a dozen on
//! validation parts of the tweets of FigLang 2020.

use crate::params::{Default, ParamKind, ParamSpec, Params};
use crate::stage::CheckError;

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec {
        name: "kind",
        kind: ParamKind::Choice(&["ngram", "embedding"]),
        default: Default::Text("ngram"),
        doc: "TF-IDF of n-grams with logistic regression, or averaged embeddings of hashed n-grams \
              with a linear layer",
    },
    ParamSpec {
        name: "context",
        kind: ParamKind::WordOrInt { words: &["all"], min: 0, max: i64::MAX },
        default: Default::Int(0),
        doc: "how many of the last turns of context are used; their features are others than those \
              of the response",
    },
    ParamSpec {
        name: "word_ngrams",
        kind: ParamKind::Int { min: 0, max: 10 },
        default: Default::Int(2),
        doc: "the most words of a feature; 0 for no words",
    },
    ParamSpec {
        name: "char_ngrams",
        kind: ParamKind::Int { min: 0, max: 20 },
        default: Default::Int(5),
        doc: "the most characters of a feature within a word; 0 for no characters",
    },
    ParamSpec {
        name: "char_ngrams_min",
        kind: ParamKind::Int { min: 1, max: 20 },
        default: Default::Int(2),
        doc: "the fewest characters of such a feature",
    },
    ParamSpec {
        name: "min_rows",
        kind: ParamKind::Int { min: 1, max: i64::MAX },
        default: Default::Int(2),
        doc: "of kind `ngram`: the fewest training examples that a feature occurs in",
    },
    ParamSpec {
        name: "sublinear",
        kind: ParamKind::Bool,
        default: Default::Bool(true),
        doc: "of kind `ngram`: whether a feature that occurs n times counts 1 + ln n, or n",
    },
    ParamSpec {
        name: "c",
        kind: ParamKind::Float { min: 1e-6, max: 1e6 },
        default: Default::Float(1.0),
        doc: "of kind `ngram`: the weight of the loss against the squared weights, as \
              scikit-learn's `C`; smaller is smoother",
    },
    ParamSpec {
        name: "dimension",
        kind: ParamKind::Int { min: 1, max: 4096 },
        default: Default::Int(50),
        doc: "of kind `embedding`: numbers of a feature's vector",
    },
    ParamSpec {
        name: "buckets",
        kind: ParamKind::Int { min: 1, max: 1 << 30 },
        default: Default::Int(1 << 20),
        doc: "of kind `embedding`: into how many numbers features are hashed",
    },
    ParamSpec {
        name: "epochs",
        kind: ParamKind::Int { min: 1, max: 10_000 },
        default: Default::Int(20),
        doc: "of kind `embedding`: passes over the training examples",
    },
    ParamSpec {
        name: "learning_rate",
        kind: ParamKind::Float { min: 0.0, max: 100.0 },
        default: Default::Float(0.5),
        doc: "of kind `embedding`: at the start; it falls to 0 in a line",
    },
    ParamSpec {
        name: "seed",
        kind: ParamKind::Int { min: 0, max: i64::MAX },
        default: Default::Int(42),
        doc: "of kind `embedding`: of the first vectors and the order of examples",
    },
];

pub fn check(params: &Params) -> Result<(), CheckError> {
    let refuse = |name, message| Err(CheckError { name: Some(name), message });
    let (words, longest) = (params.int("word_ngrams"), params.int("char_ngrams"));
    let shortest = params.int("char_ngrams_min");
    if words == 0 && longest == 0 {
        let message = "`word_ngrams` and `char_ngrams` are both 0: there would be no features";
        return refuse("word_ngrams", message.to_owned());
    }
    if longest > 0 && shortest > longest {
        let message = format!("`char_ngrams_min` is {shortest}, but `char_ngrams` is {longest}");
        return refuse("char_ngrams_min", message);
    }
    Ok(())
}

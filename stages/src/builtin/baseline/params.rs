//! The parameters of `baseline`. Defaults of the n-grams are those that were best of a dozen on
//! validation parts of the tweets of FigLang 2020.

use crate::stage::CheckError;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "kind",
        ParamKind::Choice(&["ngram", "embedding"]),
        Default::Text("ngram"),
        "TF-IDF of n-grams with logistic regression, or averaged embeddings of hashed n-grams \
              with a linear layer",
    ),
    ParamSpec::new(
        "context",
        ParamKind::WordOrInt { words: &["all"], min: 0, max: i64::MAX },
        Default::Int(0),
        "how many of the last turns of context are used; their features are others than those \
              of the response",
    ),
    ParamSpec::new(
        "word_ngrams",
        ParamKind::int(0, 10),
        Default::Int(2),
        "the most words of a feature; 0 for no words",
    ),
    ParamSpec::new(
        "char_ngrams",
        ParamKind::int(0, 20),
        Default::Int(5),
        "the most characters of a feature within a word; 0 for no characters",
    ),
    ParamSpec::new(
        "char_ngrams_min",
        ParamKind::int(1, 20),
        Default::Int(2),
        "the fewest characters of such a feature",
    ),
    ParamSpec::new(
        "min_rows",
        ParamKind::int(1, i64::MAX),
        Default::Int(2),
        "of kind `ngram`: the fewest training examples that a feature occurs in",
    ),
    ParamSpec::new(
        "sublinear",
        ParamKind::Bool,
        Default::Bool(true),
        "of kind `ngram`: whether a feature that occurs n times counts 1 + ln n, or n",
    ),
    ParamSpec::new(
        "c",
        ParamKind::float(1e-6, 1e6),
        Default::Float(1.0),
        "of kind `ngram`: the weight of the loss against the squared weights, as \
              scikit-learn's `C`; smaller is smoother",
    ),
    ParamSpec::new(
        "dimension",
        ParamKind::int(1, 4096),
        Default::Int(50),
        "of kind `embedding`: numbers of a feature's vector",
    ),
    ParamSpec::new(
        "buckets",
        ParamKind::int(1, 1 << 30),
        Default::Int(1 << 20),
        "of kind `embedding`: into how many numbers features are hashed",
    ),
    ParamSpec::new(
        "epochs",
        ParamKind::int(1, 10_000),
        Default::Int(20),
        "of kind `embedding`: passes over the training examples",
    ),
    ParamSpec::new(
        "learning_rate",
        ParamKind::float(0.0, 100.0),
        Default::Float(0.5),
        "of kind `embedding`: at the start; it falls to 0 in a line",
    ),
    ParamSpec::new(
        "seed",
        ParamKind::int(0, i64::MAX),
        Default::Int(42),
        "of kind `embedding`: of the first vectors and the order of examples",
    ),
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

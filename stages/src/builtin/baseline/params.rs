//! The parameters of `baseline`: their table, and their values as a typed struct. The defaults of
//! the n-grams were the best of a dozen settings on validation splits of FigLang 2020's tweets.

use crate::data::classification::POSITIVE;
use crate::stage::CheckError;
use crate::stage::choice::choice;
use crate::stage::params::{Default, ParamKind, ParamSpec, Params};

pub const PARAMS: &[ParamSpec] = &[
    ParamSpec::new(
        "kind",
        ParamKind::Choice(BaselineKind::WORDS),
        Default::Text("ngram"),
        "`ngram`: TF-IDF features of n-grams with logistic regression; `embedding`: averaged \
         embeddings of hashed n-grams with a linear layer",
    ),
    ParamSpec::new(
        "context",
        ParamKind::WordOrInt { words: &["all"], min: 0, max: i64::MAX },
        Default::Int(0),
        "the number of last turns of context to use; their features are separate from those of \
         the response",
    ),
    ParamSpec::new(
        "word_ngrams",
        ParamKind::int(0, 10),
        Default::Int(2),
        "the longest word n-gram, in words; 0: none",
    ),
    ParamSpec::new(
        "char_ngrams",
        ParamKind::int(0, 20),
        Default::Int(5),
        "the longest character n-gram within a word, in characters; 0: none",
    ),
    ParamSpec::new(
        "char_ngrams_min",
        ParamKind::int(1, 20),
        Default::Int(2),
        "the shortest character n-gram, in characters",
    ),
    ParamSpec::new(
        "min_rows",
        ParamKind::int(1, i64::MAX),
        Default::Int(2),
        "`ngram` only: features in fewer training examples are dropped",
    ),
    ParamSpec::new(
        "sublinear",
        ParamKind::Bool,
        Default::Bool(true),
        "`ngram` only: a feature that occurs n times counts 1 + ln n instead of n",
    ),
    ParamSpec::new(
        "c",
        ParamKind::float(1e-6, 1e6),
        Default::Float(1.0),
        "`ngram` only: the inverse strength of the L2 penalty, as scikit-learn's `C`; smaller \
         regularises more",
    ),
    ParamSpec::new(
        "dimension",
        ParamKind::int(1, 4096),
        Default::Int(50),
        "`embedding` only: the size of a feature's vector",
    ),
    ParamSpec::new(
        "buckets",
        ParamKind::int(1, 1 << 30),
        Default::Int(1 << 20),
        "`embedding` only: the number of buckets that features are hashed into",
    ),
    ParamSpec::new(
        "epochs",
        ParamKind::int(1, 10_000),
        Default::Int(20),
        "`embedding` only: passes over the training examples",
    ),
    ParamSpec::new(
        "learning_rate",
        ParamKind::float(0.0, 100.0),
        Default::Float(0.5),
        "`embedding` only: the initial learning rate, which falls linearly to 0",
    ),
    ParamSpec::new(
        "seed",
        ParamKind::int(0, i64::MAX),
        Default::Int(42),
        "`embedding` only: the seed of the initial vectors and the order of examples",
    ),
    POSITIVE,
];

choice! {
    /// The kind of classifier to train.
    pub enum BaselineKind {
        /// TF-IDF features of n-grams with logistic regression.
        Ngram = "ngram",
        /// Averaged embeddings of hashed n-grams with a linear layer.
        Embedding = "embedding",
    }
}

/// The parameters of one `baseline`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaselineParams {
    pub kind: BaselineKind,
    /// `None`: all turns.
    pub context: Option<usize>,
    pub word_ngrams: usize,
    pub char_ngrams: usize,
    pub char_ngrams_min: usize,
    pub min_rows: usize,
    pub sublinear: bool,
    pub c: f64,
    pub buckets: u64,
    pub embedding: EmbeddingParams,
}

/// How an embedding is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmbeddingParams {
    pub dimension: usize,
    pub epochs: u64,
    pub learning_rate: f64,
    pub seed: u64,
}

impl BaselineParams {
    pub fn of(params: &Params) -> BaselineParams {
        BaselineParams {
            kind: BaselineKind::of(params, "kind"),
            context: params.optional_count("context"),
            word_ngrams: params.count("word_ngrams"),
            char_ngrams: params.count("char_ngrams"),
            char_ngrams_min: params.count("char_ngrams_min"),
            min_rows: params.count("min_rows"),
            sublinear: params.bool("sublinear"),
            c: params.float("c"),
            buckets: params.int("buckets").unsigned_abs(),
            embedding: EmbeddingParams {
                dimension: params.count("dimension"),
                epochs: params.int("epochs").unsigned_abs(),
                learning_rate: params.float("learning_rate"),
                seed: params.int("seed").unsigned_abs(),
            },
        }
    }
}

/// Refuses parameters that leave no features.
pub fn check(params: &Params) -> Result<(), CheckError> {
    let params = BaselineParams::of(params);
    let refuse = |name, message| Err(CheckError { name: Some(name), message });
    let (longest, shortest) = (params.char_ngrams, params.char_ngrams_min);
    if params.word_ngrams == 0 && longest == 0 {
        let message = "`word_ngrams` and `char_ngrams` are both 0: there would be no features";
        return refuse("word_ngrams", message.to_owned());
    }
    if longest > 0 && shortest > longest {
        let message = format!("`char_ngrams_min` is {shortest}, but `char_ngrams` is {longest}");
        return refuse("char_ngrams_min", message);
    }
    Ok(())
}

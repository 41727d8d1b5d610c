//! Why a stage failed. Every message names the operation and the file, line or parameter.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// The failure of a built-in stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("reading {}: {source}", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    /// A line of a data file is malformed.
    #[error("{}, line {line}: {problem}", path.display())]
    Line { path: PathBuf, line: u64, problem: String },
    /// A row of a data file without lines is malformed.
    #[error("{}, row {row}: {problem}", path.display())]
    Row { path: PathBuf, row: u64, problem: String },
    /// A file as a whole is unusable.
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("parameter `{name}`: {problem}")]
    Param { name: &'static str, problem: String },
    /// A token file and a model do not belong together.
    #[error(
        "{}: made with another tokenizer than that of {}: its tokens mean something else",
        tokens.display(), other.display()
    )]
    OtherTokenizer { tokens: PathBuf, other: PathBuf },
    /// A head that cannot be passed on as it is.
    #[error(
        "the checkpoint's head has the labels {}, the data {}; `label_map` says which is which",
        quoted(head),
        quoted(data)
    )]
    OtherLabels { head: Vec<String>, data: Vec<String> },
    #[error("the manifest wires no input `{name}`")]
    NoSuchInput { name: &'static str },
    #[error("the manifest names no output `{name}`")]
    NoSuchOutput { name: &'static str },
    #[error("there is no built-in stage `{name}`")]
    NoSuchStage { name: String },
    #[error("the manifest wants version {wanted} of `{name}`, this binary has {found}")]
    OtherVersion { name: String, wanted: u32, found: u32 },
    /// This build or this machine lacks something: a feature, a device, a driver.
    #[error("{what} is not available: {problem}")]
    Unavailable { what: String, problem: String },
    /// A line of `metrics.jsonl` could not be written or read.
    #[error("a line of metrics: {source}")]
    Metrics { source: serde_json::Error },
    /// A computation gave a number that is NaN or infinite.
    #[error("{doing}: {what} is {value}")]
    NotFinite { doing: String, what: String, value: f64, hint: &'static str },
}

/// The hints of [`StageError::NotFinite`]. A test looks up the parameters that they name.
pub mod hints {
    /// For `finetune` and `pretrain`.
    pub const TRAINING: &str = "lower `learning_rate` or raise `warmup_ratio`; `max_grad_norm: 1` \
                                limits the gradients, and an `adam_epsilon` below 1e-8 may be too \
                                small";
    /// For the kind `embedding` of `baseline`.
    pub const EMBEDDING: &str = "lower `learning_rate`";
    /// For the kind `ngram` of `baseline`.
    pub const REGRESSION: &str = "lower `c`";
    /// For a model whose parameters are finite, but too large to compute with.
    pub const INFERENCE: &str = "the model's parameters are too large to compute with; train it with a lower \
         `learning_rate`";

    pub const ALL: [&str; 4] = [TRAINING, EMBEDDING, REGRESSION, INFERENCE];
}

impl StageError {
    /// Training cannot go on: `what` is not finite at a step, counted from 1.
    #[cfg(feature = "model")]
    pub fn diverged(step: u64, what: String, value: f64) -> StageError {
        let doing = format!("training diverged at step {step}");
        StageError::NotFinite { doing, what, value, hint: hints::TRAINING }
    }

    /// A device did not compute what was asked of it, for what it says.
    #[cfg(feature = "model")]
    pub fn no_result(message: impl std::fmt::Display) -> StageError {
        let problem = super::panics::causes(&message.to_string());
        StageError::Unavailable { what: "the result of the device".to_owned(), problem }
    }

    /// For `map_err`: adds the operation (a participle such as `reading`) and the path.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StageError {
        let path = path.to_owned();
        move |source| StageError::Io { doing, path, source }
    }

    /// The error of `pretrain`, `finetune` and `predict` in a build without the feature `model`.
    #[cfg(not(feature = "model"))]
    pub fn without_model(stage: &str) -> StageError {
        StageError::Unavailable {
            what: format!("stage `{stage}`"),
            problem: "this binary was built without the feature `model`".to_owned(),
        }
    }

    /// A hint on how to fix it, if there is general advice.
    pub fn hint(&self) -> Option<String> {
        match self {
            StageError::OtherVersion { .. } => {
                Some("run the stage with the binary that planned it".to_owned())
            }
            StageError::NotFinite { hint, .. } => Some((*hint).to_owned()),
            StageError::OtherTokenizer { .. } => Some(
                "give `tokenize` the `model` that this stage has, or give this stage a model with \
                 the same tokenizer"
                    .to_owned(),
            ),
            StageError::OtherLabels { head, data } if data.iter().all(|it| head.contains(it)) => {
                let all = head.join(", ");
                Some(format!("give `tokenize` all labels of the head: `labels: [{all}]`"))
            }
            StageError::OtherLabels { head, .. } => {
                let entries = head.iter().map(|label| format!("{label}: …"));
                let entries = entries.collect::<Vec<_>>().join(", ");
                Some(format!(
                    "name the label for each: `label_map: {{{entries}}}`; or train a new head, with \
                     `head: new` and `epochs` of 1 or more"
                ))
            }
            StageError::Line { problem, .. }
                if problem.starts_with("expected UTF-8, found the") =>
            {
                Some(
                    "if the file is in another encoding, `ingest` and `pipe init` can be told: \
                     `encoding: windows-1252`"
                        .to_owned(),
                )
            }
            _ => None,
        }
    }
}

/// Names in backticks, with commas between them.
pub fn quoted(names: impl IntoIterator<Item: Display>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

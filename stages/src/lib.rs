//! The built-in stages of `pipe`, each a function from files and parameters to files.
//!
//! A stage is a [`Stage`]: data that a pipeline is checked against, and [`Stage::run`], which
//! sees its [`Manifest`] and nothing else. [`run_manifest`] is what the binary's hidden `stage`
//! subcommand calls in a process of its own.
//!
//! | stage | reads | writes |
//! |---|---|---|
//! | [`ingest`] | JSONL, CSV or TSV | checked examples as JSONL, and a report |
//! | [`split`] | examples | training and validation examples |
//! | [`tokenize`] | examples, a model's tokenizer | token ids in safetensors |
//! | [`train_tokenizer`] | texts | a byte-level BPE tokenizer |
//! | [`pretrain`] | texts, a tokenizer or an encoder | an encoder as a model folder, metrics |
//! | [`finetune`] | token ids, an encoder | a Hugging Face model folder, metrics |
//! | [`predict`] | token ids, a model | class probabilities, `answer.txt` |
//! | [`baseline`] | examples | predictions of a model of n-grams, `answer.txt` |
//! | [`ensemble`] | several predictions | one, as `predict` writes it |
//! | [`score`] | predictions | precision, recall, F1 with intervals |
//!
//! Without the feature `model`, `pretrain`, `finetune` and `predict` can be planned but not run.

pub mod builtin;
pub mod data;
pub mod model;
pub mod stage;
pub mod text;
pub mod train;

pub use builtin::{all, find, predictions_of, run_manifest};
pub use stage::error::StageError;
pub use stage::event::{Event, Events};
pub use stage::manifest::Manifest;
pub use stage::params::{ParamKind, ParamSpec, Params};
pub use stage::{Context, Continuation, InputSpec, Kind, OutputSpec, Stage};

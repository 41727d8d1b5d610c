//! The built-in stages of `pipe`: each is a function from files and parameters to files.
//!
//! A stage is a [`Stage`]: data that a pipeline is checked against, and [`Stage::run`], which
//! sees its [`Manifest`] and nothing else. The hidden subcommand `stage` of the binary calls
//! [`run_manifest`] in a process of its own.
//!
//! | stage | reads | writes |
//! |---|---|---|
//! | [`ingest`](builtin::ingest) | JSONL, JSON, CSV, TSV, Parquet or Arrow | checked examples as JSONL, and a report |
//! | [`audit`](builtin::audit) | examples, predictions of them by models that have not seen them | suspicious labels and texts, tables |
//! | [`clean`](builtin::clean) | examples, decisions about them | the examples without what was dropped, relabelled |
//! | [`split`](builtin::split) | examples | training and validation examples |
//! | [`tokenize`](builtin::tokenize) | examples, a model's tokenizer | token ids in safetensors |
//! | [`train-tokenizer`](builtin::train_tokenizer) | texts | a byte-level BPE tokenizer |
//! | [`pretrain`](builtin::pretrain) | texts, a tokenizer or an encoder | an encoder as a model folder, metrics |
//! | [`finetune`](builtin::finetune) | token ids, an encoder | a Hugging Face model folder, metrics |
//! | [`predict`](builtin::predict) | token ids, a model | class probabilities, `answer.txt` |
//! | [`baseline`](builtin::baseline) | examples | predictions of an n-gram model, `answer.txt` |
//! | [`ensemble`](builtin::ensemble) | predictions of several models | their combination, in the format of `predict` |
//! | [`score`](builtin::score) | predictions | precision, recall, F1 with intervals |
//!
//! Without the feature `model`, `pretrain`, `finetune` and `predict` can be planned but not run.
//!
//! # The folders
//!
//! From the top; a folder imports only from the lines below it.
//!
//! | folder | what lives there |
//! |---|---|
//! | [`builtin`] | the stages, a folder each, and [`all`], which lists them |
//! | [`train`] | batches, one step, the optimiser, schedules, checkpoints |
//! | `onnx` | the graph of a classifier in the format of ONNX |
//! | [`model`] | the network: configuration, encoder, heads, weights, kernels for the CPU |
//! | [`text`] | tokenizers, tweet normalisation |
//! | [`family`] | what distinguishes BERT, RoBERTa, DeBERTa and the others, as data |
//! | [`data`] | rows, labels, token files, tensors, lines, random numbers by address |
//! | [`stage`] | what a stage is: the trait, parameters, manifest, events, errors |

pub mod builtin;
pub mod data;
pub mod family;
pub mod model;
#[cfg(feature = "model")]
pub mod onnx;
pub mod stage;
pub mod text;
pub mod train;

pub use builtin::{all, find, headline, predictions_of, run_manifest};
pub use stage::error::StageError;
pub use stage::event::{Event, Events};
pub use stage::manifest::Manifest;
pub use stage::params::{ParamKind, ParamSpec, Params};
pub use stage::{Context, Continuation, Count, InputSpec, Kind, OutputSpec, Stage};

//! `pipe`: a declarative build tool for fine-tuned text classifiers.

pub mod cli;
pub mod console;
pub mod digest;
pub mod error;
pub mod executor;
pub mod exit;
pub mod file_error;
pub mod graph;
pub mod index;
pub mod key;
pub mod lock;
pub mod pipeline;
pub mod plan;
pub mod publish;
pub mod reason;
pub mod record;
pub mod run;
pub mod scratch;
pub mod show;
pub mod source;
pub mod sources;
pub mod stamp;
pub mod store;
pub mod suggest;
pub mod tree;

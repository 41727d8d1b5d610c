//! `pipe`: a declarative build tool for fine-tuned text classifiers.

pub mod graph;
pub mod pipeline;
pub mod show;
pub mod source;
pub mod suggest;

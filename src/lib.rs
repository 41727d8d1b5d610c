//! `pipe`: a declarative build tool for fine-tuned text classifiers.

pub mod pipeline;

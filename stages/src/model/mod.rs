//! The encoder that `finetune` and `predict` run.

pub mod config;

pub use config::{Family, ModelConfig};

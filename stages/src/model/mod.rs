//! The model that `finetune` and `predict` run: BERT, RoBERTa and MPNet classifiers in burn.
//!
//! Read [`config`], [`encoder`] and [`classifier`] in this order for the network; [`checkpoint`]
//! and [`loading`] for where its parameters come from; [`folder`] for how it is saved.

#[cfg(feature = "model")]
pub mod batch;
#[cfg(feature = "model")]
pub mod checkpoint;
#[cfg(feature = "model")]
pub mod classifier;
pub mod config;
#[cfg(feature = "model")]
pub mod cpu;
#[cfg(feature = "model")]
pub mod device;
#[cfg(feature = "model")]
pub mod encoder;
#[cfg(feature = "model")]
pub mod folder;
#[cfg(feature = "model")]
pub mod loading;
#[cfg(feature = "model")]
pub mod noise;
#[cfg(feature = "model")]
pub mod ops;
#[cfg(feature = "model")]
pub mod parameters;
#[cfg(feature = "model")]
mod relative;

pub use config::{Family, ModelConfig};

//! The models that `finetune`, `predict` and `pretrain` run: the families of [`crate::family`] in
//! burn, as classifiers and as masked language models.
//!
//! Read [`config`], [`encoder`] and [`classifier`] (or [`masked_lm`]) in this order for the
//! network; [`weight_files`], [`head`] and [`loading`] for where its parameters come from; [`folder`] for how
//! it is saved.

pub mod accelerator;
#[cfg(feature = "model")]
pub mod affine;
#[cfg(feature = "model")]
pub mod batch;
#[cfg(feature = "model")]
pub mod classifier;
pub mod config;
#[cfg(feature = "model")]
pub mod cpu;
#[cfg(feature = "device")]
pub mod device;
#[cfg(feature = "model")]
pub mod encoder;
#[cfg(feature = "model")]
pub mod folder;
#[cfg(feature = "model")]
mod generic_attention;
#[cfg(feature = "model")]
pub mod head;
#[cfg(feature = "model")]
pub mod loading;
#[cfg(feature = "model")]
pub mod masked_lm;
#[cfg(feature = "model")]
pub mod memory;
#[cfg(feature = "model")]
pub mod noise;
#[cfg(feature = "model")]
pub mod ops;
#[cfg(feature = "model")]
pub mod parameters;
pub mod precision;
#[cfg(feature = "model")]
pub mod relative;
#[cfg(feature = "model")]
pub mod weight_files;

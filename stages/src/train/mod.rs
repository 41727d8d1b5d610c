//! Training: the order of examples, the loss and its gradients, the optimiser, evaluation.
//!
//! One step of the mathematics is [`step::Trainer::step`]; everything random in it is addressed
//! by seed and step, so it can be repeated from any point.

#[cfg(feature = "model")]
pub mod binary_loss;
#[cfg(feature = "model")]
pub mod checkpoint;
#[cfg(feature = "model")]
pub mod checkpoint_timer;
#[cfg(feature = "model")]
pub mod class_outputs;
#[cfg(feature = "model")]
pub mod depth;
#[cfg(feature = "model")]
pub mod evaluation;
#[cfg(feature = "model")]
pub mod gradient;
#[cfg(feature = "device")]
pub mod graphs;
#[cfg(feature = "model")]
pub mod loss;
#[cfg(feature = "model")]
pub mod memory;
#[cfg(feature = "model")]
pub mod micro;
#[cfg(feature = "model")]
pub mod objective;
#[cfg(feature = "model")]
pub mod optimizer;
#[cfg(feature = "model")]
pub mod order;
pub mod params;
pub mod schedule;
#[cfg(feature = "model")]
pub mod squared_loss;
#[cfg(feature = "model")]
pub mod step;
#[cfg(feature = "model")]
pub mod task_evaluation;
#[cfg(feature = "model")]
pub mod task_loss;
#[cfg(feature = "model")]
pub mod unread;

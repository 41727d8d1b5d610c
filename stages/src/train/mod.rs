//! Training: the order of examples, the loss and its gradients, the optimiser, evaluation.
//!
//! One step of the mathematics is [`step::Trainer::step`]; everything random in it is addressed
//! by seed and step, so it can be repeated from any point.

pub mod checkpoint;
pub mod checkpoints;
pub mod depth;
pub mod evaluation;
pub mod loss;
pub mod memory;
pub mod micro;
pub mod objective;
pub mod optimizer;
pub mod order;
pub mod schedule;
pub mod step;

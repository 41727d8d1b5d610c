//! What a training makes small: the one thing in which fine-tuning and pretraining differ. Steps,
//! micro-batches and checkpoints are written against it.

use burn::tensor::Tensor;

use crate::model::noise::Noise;
use crate::model::parameters::Network;

/// The loss of a kind of model on a kind of batch.
pub trait Objective: Sync {
    type Model: Network + Send + Sync;
    /// A part of a batch that goes through the network at once.
    type Part: Part + Sync;

    /// How many passes through the network an example takes.
    fn passes(&self) -> usize {
        1
    }

    /// What the loss of a whole batch is divided by.
    fn total_weight(&self, parts: &[Self::Part]) -> f64;

    /// The loss of `part`, summed over its examples and divided by `total_weight` of the whole
    /// batch of `batch_rows` examples, so that the losses of a batch's parts add up to that of the
    /// batch. `noise` makes the randomness of a pass, by its number.
    ///
    /// # Shapes
    ///
    /// Result: `[1]`.
    fn of(
        &self,
        model: &Self::Model,
        part: &Self::Part,
        total_weight: f64,
        batch_rows: usize,
        noise: &dyn Fn(u64) -> Option<Noise>,
    ) -> Tensor<1>;
}

/// Where a part lies in its batch.
pub trait Part {
    /// How many examples it holds.
    fn rows(&self) -> usize;

    /// Its first example's place in the whole batch.
    fn first_row(&self) -> usize;

    /// The entries of the table of words, ascending, that the loss depends on; `None`: on all.
    fn words(&self) -> Option<Vec<usize>>;
}

//! The training objective, the only difference between fine-tuning and pretraining. Steps,
//! micro-batches and checkpoints are generic over it.

use burn::tensor::Tensor;

#[cfg(feature = "device")]
use crate::model::device::inputs::{Inputs, Numbers};
use crate::model::noise::Noise;
use crate::model::parameters::Network;

/// The loss of a kind of model on a kind of batch.
pub trait Objective: Sync {
    type Model: Network + Send + Sync;
    /// A part of a batch that goes through the network at once.
    type Part: Part + Sync;

    /// The number of forward passes per example.
    fn passes(&self) -> usize {
        1
    }

    /// The divisor of the loss of a whole batch.
    fn total_weight(&self, parts: &[Self::Part]) -> f64;

    /// The loss of `part`, summed over its examples and divided by `total_weight` of the whole
    /// batch of `batch_examples` examples, so that the losses of all parts add up to the loss of
    /// the batch. `noise` returns the randomness of the pass with a number.
    ///
    /// # Shapes
    ///
    /// Result: `[1]`.
    fn of(
        &self,
        model: &Self::Model,
        part: &Self::Part,
        total_weight: f64,
        batch_examples: f64,
        noise: &dyn Fn(u64) -> Option<Noise>,
    ) -> Tensor<1>;

    /// The same loss in two halves, if it can be computed so.
    #[cfg(feature = "device")]
    fn halves(&self) -> Option<&dyn Halves<Self::Model, Self::Part>> {
        None
    }
}

/// A loss of which all that the host sends goes to a GPU before the GPU begins: then the GPU's half
/// can be recorded.
#[cfg(feature = "device")]
pub trait Halves<M, P> {
    /// What the host sends, for passes with these dropouts. `None` if this model on its device needs
    /// more.
    fn numbers(
        &self,
        model: &M,
        part: &P,
        total_weight: f64,
        batch_examples: f64,
        noises: &[Noise],
    ) -> Option<Numbers>;

    /// Sends it.
    fn send(&self, model: &M, numbers: &Numbers) -> Option<Inputs>;

    /// [`Objective::of`] with what has been sent. Everything else that it takes from `part` and
    /// `noises` depends on the layout of the numbers alone.
    fn of_inputs(&self, model: &M, part: &P, inputs: &Inputs, noises: &[Noise]) -> Tensor<1>;
}

/// A part of a batch.
pub trait Part {
    /// The number of examples. One of several windows counts as its share.
    fn examples(&self) -> f64;

    /// The index of its first example in the whole batch.
    fn first_row(&self) -> usize;

    /// The rows of the word embeddings that the loss depends on, ascending; `None` means all.
    fn words(&self) -> Option<Vec<usize>>;
}

//! One optimiser step: the loss of a batch and its gradients, in micro-batches if need be, then
//! AdamW.

use burn::tensor::{Gradients, Tensor};

use super::depth::Depth;
use super::gradient::Gradient;
use super::loss::Loss;
use super::objective::{Objective, Part};
#[cfg(feature = "device")]
use super::optimizer;
use super::optimizer::{AdamW, Moments};
use super::schedule::Schedule;
use crate::family::Family;
use crate::model::noise::Noise;
use crate::model::ops;
use crate::model::parameters::{Network, Parameter};
use crate::stage::error::StageError;

/// The loss of a batch and the gradient of every parameter, in the order of `Network::parameters`.
/// A gradient is `None` if the loss does not depend on the parameter or the parameter is frozen.
/// `noise(first_row, pass)` returns the randomness of a pass over the examples from `first_row` on.
///
/// `lanes` parts (1 or 2) are computed in parallel, which uses the cores better than parallel
/// operations do. Gradients are summed in the order of the parts, whatever the number of threads.
pub fn gradients<O: Objective>(
    model: &mut O::Model,
    parts: &[O::Part],
    lanes: usize,
    loss: &O,
    noise: impl Fn(usize, u64) -> Option<Noise> + Sync,
) -> (Tensor<1>, Vec<Option<Gradient>>) {
    let batch_examples: f64 = parts.iter().map(Part::examples).sum();
    let total_weight = loss.total_weight(parts);
    let of_part = |model: &mut O::Model, part: &O::Part| {
        let noise = |pass| noise(part.first_row(), pass);
        let loss = loss.of(model, part, total_weight, batch_examples, &noise);
        let gradients = taken(model, &mut loss.backward(), part.words());
        (loss.inner(), gradients)
    };
    let mut beside = (lanes > 1 && parts.len() > 1).then(|| model.apart());
    let mut total: Option<(Tensor<1>, Vec<Option<Gradient>>)> = None;
    let mut add = |(loss, gradients)| {
        total = Some(match total.take() {
            Some((sum, sums)) => (sum + loss, added(sums, gradients)),
            None => (loss, gradients),
        });
    };
    for parts in parts.chunks(if beside.is_some() { 2 } else { 1 }) {
        match (parts, &mut beside) {
            ([left, right], Some(beside)) => {
                let (left, right) = rayon::join(|| of_part(model, left), || of_part(beside, right));
                add(left);
                add(right);
            }
            _ => parts.iter().for_each(|part| add(of_part(model, part))),
        }
    }
    total.unwrap_or_else(|| (Tensor::zeros([1], &Default::default()), Vec::new()))
}

/// Takes the gradients of the parameters out of a backward pass. `words` are the rows of the word
/// embeddings whose gradient is not 0.
pub(super) fn taken(
    model: &mut impl Network,
    tape: &mut Gradients,
    mut words: Option<Vec<usize>>,
) -> Vec<Option<Gradient>> {
    let of = |(name, parameter): (String, Parameter)| match parameter {
        Parameter::Vector(tensor) => tensor.grad_remove(tape).map(Gradient::Vector),
        Parameter::Weight(tensor) | Parameter::Kernel { weight: tensor, .. } => {
            tensor.grad_remove(tape).map(Gradient::Matrix)
        }
        Parameter::Table(tensor) => {
            let whole = tensor.grad_remove(tape)?;
            let has_words = Family::is_words(&name) && ops::is_on_host(&whole);
            Some(match words.take_if(|_| has_words) {
                Some(rows) => Gradient::Table { whole, rows },
                None => Gradient::Matrix(whole),
            })
        }
    };
    model.parameters().into_iter().map(of).collect()
}

fn added(sums: Vec<Option<Gradient>>, more: Vec<Option<Gradient>>) -> Vec<Option<Gradient>> {
    let pairs = sums.into_iter().zip(more);
    pairs
        .map(|(sum, new)| match (sum, new) {
            (Some(sum), Some(new)) => Some(sum.plus(new)),
            (sum, new) => sum.or(new),
        })
        .collect()
}

/// The state of a training and its constants.
pub struct Trainer<O: Objective = Loss> {
    pub model: O::Model,
    pub moments: Moments,
    pub loss: O,
    pub optimizer: AdamW,
    pub schedule: Schedule,
    pub seed: u64,
    /// Whether dropout is active. Parity tests turn it off.
    pub dropout: bool,
    /// Parameters at this depth and below are not trained.
    pub frozen: Option<Depth>,
}

impl<O: Objective> Trainer<O> {
    /// Removes frozen parameters from autodiff, so that the backward pass skips them. Call it once,
    /// after the model is complete.
    pub fn freeze(&mut self) {
        let Some(frozen) = self.frozen else { return };
        for (name, parameter) in self.model.parameters() {
            if Depth::of(&name) <= frozen {
                parameter.detach();
            }
        }
    }

    /// The loss of a batch, on the device, and its [`gradients`]. Changes nothing.
    pub fn gradients(
        &mut self,
        parts: &[O::Part],
        lanes: usize,
    ) -> (Tensor<1>, Vec<Option<Gradient>>) {
        let (seed, step, dropout) = (self.seed, self.moments.steps, self.dropout);
        let noise = |first_row, pass| dropout.then(|| Noise::new(seed, step, first_row, pass));
        gradients(&mut self.model, parts, lanes, &self.loss, noise)
    }

    /// The randomness of each pass of the next step over the examples from `first_row` on; empty
    /// without dropout.
    #[cfg(feature = "device")]
    pub(super) fn noises(&self, first_row: usize) -> Vec<Noise> {
        let passes = if self.dropout { self.loss.passes() as u64 } else { 0 };
        let of_pass = |pass| Noise::new(self.seed, self.moments.steps, first_row, pass);
        (0..passes).map(of_pass).collect()
    }

    /// Asks whether a GPU has had memory for these gradients, and for the moments that it now makes.
    ///
    /// # Errors
    /// It had not: why. Nothing has changed.
    #[cfg(feature = "device")]
    pub(super) fn make_room(&mut self, gradients: &[Option<Gradient>]) -> Result<(), String> {
        optimizer::make_room(&mut self.model, gradients, &mut self.moments)
    }

    #[cfg(not(feature = "device"))]
    pub(super) fn make_room(&mut self, _: &[Option<Gradient>]) -> Result<(), String> {
        Ok(())
    }

    /// Updates the parameters. After an error they must not be used. Returns what [`AdamW::step`]
    /// returns.
    pub fn apply(
        &mut self,
        gradients: Vec<Option<Gradient>>,
    ) -> Result<Option<Tensor<1>>, StageError> {
        let rate = self.schedule.rate(self.moments.steps);
        self.optimizer.step(&mut self.model, gradients, &mut self.moments, rate)
    }

    /// One optimiser step over the parts of a batch. Returns the loss of the batch, on the device.
    pub fn step(&mut self, parts: &[O::Part], lanes: usize) -> Result<Tensor<1>, StageError> {
        let (loss, gradients) = self.gradients(parts, lanes);
        self.apply(gradients)?;
        Ok(loss)
    }
}

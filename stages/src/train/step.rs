//! One optimiser step: the loss of a batch and its gradients, in micro-batches if need be, then
//! AdamW.

use burn::backend::Flex;
use burn::tensor::Tensor;

use super::depth::Depth;
use super::loss::Loss;
use super::objective::{Objective, Part};
use super::optimizer::{AdamW, Moments};
use super::schedule::Schedule;
use crate::model::noise::Noise;
use crate::model::parameters::{Network, Parameter};

/// The gradient of one parameter, outside of automatic differentiation.
#[derive(Clone, Debug)]
pub enum Gradient {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
}

impl Gradient {
    fn plus(self, other: Gradient) -> Gradient {
        match (self, other) {
            (Gradient::Vector(left), Gradient::Vector(right)) => Gradient::Vector(left + right),
            (Gradient::Matrix(left), Gradient::Matrix(right)) => Gradient::Matrix(left + right),
            (left, _) => unreachable!("two gradients of one parameter differ in rank: {left:?}"),
        }
    }

    /// Whether the values lie in this process's memory.
    pub fn is_on_host(&self) -> bool {
        match self {
            Gradient::Vector(tensor) => is_on_host(tensor),
            Gradient::Matrix(tensor) => is_on_host(tensor),
        }
    }

    /// The values in row-major order; without a copy where nobody else holds them.
    pub fn into_host(self) -> Vec<f32> {
        let data = match self {
            Gradient::Vector(tensor) => tensor.into_data(),
            Gradient::Matrix(tensor) => tensor.into_data(),
        };
        data.try_into_vec::<f32>().unwrap_or_default()
    }

    /// The values as one row, on their device.
    pub fn into_flat(self) -> Tensor<1> {
        match self {
            Gradient::Vector(tensor) => tensor,
            Gradient::Matrix(tensor) => {
                let [rows, columns] = tensor.dims();
                tensor.reshape([rows * columns])
            }
        }
    }
}

fn is_on_host<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.clone().try_into_primitive::<Flex>().is_ok()
}

/// The loss of a batch and the gradient of every parameter (`None` where the loss does not
/// depend on it or it is not trained), in the order of `Network::parameters`. `noise` makes
/// the randomness of a pass over examples from the first row on, by the pass's number.
pub fn gradients<O: Objective>(
    model: &mut O::Model,
    parts: &[O::Part],
    loss: &O,
    noise: impl Fn(usize, u64) -> Option<Noise>,
) -> (Tensor<1>, Vec<Option<Gradient>>) {
    let batch_rows: usize = parts.iter().map(Part::rows).sum();
    let total_weight = loss.total_weight(parts);
    let mut total: Option<Tensor<1>> = None;
    let mut sums: Vec<Option<Gradient>> = Vec::new();
    for part in parts {
        let noise = |pass| noise(part.first_row(), pass);
        let loss = loss.of(model, part, total_weight, batch_rows, &noise);
        let mut tape = loss.backward();
        let loss = loss.inner();
        total = Some(match total {
            Some(total) => total + loss,
            None => loss,
        });
        let found = model.parameters().into_iter().map(|(_, parameter)| match parameter {
            Parameter::Vector(tensor) => tensor.grad_remove(&mut tape).map(Gradient::Vector),
            Parameter::Weight(tensor) | Parameter::Table(tensor) => {
                tensor.grad_remove(&mut tape).map(Gradient::Matrix)
            }
        });
        sums = if sums.is_empty() {
            found.collect()
        } else {
            let pairs = sums.into_iter().zip(found);
            pairs
                .map(|(sum, new)| match (sum, new) {
                    (Some(sum), Some(new)) => Some(sum.plus(new)),
                    (sum, new) => sum.or(new),
                })
                .collect()
        };
    }
    let total = total.unwrap_or_else(|| Tensor::zeros([1], &Default::default()));
    (total, sums)
}

/// What training changes, and the constants it goes by.
pub struct Trainer<O: Objective = Loss> {
    pub model: O::Model,
    pub moments: Moments,
    pub loss: O,
    pub optimizer: AdamW,
    pub schedule: Schedule,
    pub seed: u64,
    /// Whether dropout is active at all; parity tests turn it off.
    pub dropout: bool,
    /// Parameters at this depth and below are not trained.
    pub frozen: Option<Depth>,
}

impl<O: Objective> Trainer<O> {
    /// Takes the parameters that are not trained out of automatic differentiation, so that
    /// nothing is computed for them on the way back. Once, after the model is complete.
    pub fn freeze(&mut self) {
        let Some(frozen) = self.frozen else { return };
        for (name, parameter) in self.model.parameters() {
            if Depth::of(&name) > frozen {
                continue;
            }
            match parameter {
                Parameter::Vector(tensor) => *tensor = untrained(tensor),
                Parameter::Weight(tensor) | Parameter::Table(tensor) => {
                    *tensor = untrained(tensor);
                }
            }
        }
    }

    /// The loss of a batch, on the device, and the gradients. Nothing is changed.
    pub fn gradients(&mut self, parts: &[O::Part]) -> (Tensor<1>, Vec<Option<Gradient>>) {
        let (seed, step, dropout) = (self.seed, self.moments.steps, self.dropout);
        let noise = |first_row, pass| dropout.then(|| Noise::new(seed, step, first_row, pass));
        gradients(&mut self.model, parts, &self.loss, noise)
    }

    /// Updates the parameters.
    pub fn apply(&mut self, gradients: Vec<Option<Gradient>>) {
        let rate = self.schedule.rate(self.moments.steps);
        self.optimizer.step(&mut self.model, gradients, &mut self.moments, rate);
    }

    /// One optimiser step over the parts of a batch. Returns the batch's loss, on the device.
    pub fn step(&mut self, parts: &[O::Part]) -> Tensor<1> {
        let (loss, gradients) = self.gradients(parts);
        self.apply(gradients);
        loss
    }
}

fn untrained<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(tensor.clone().inner())
}

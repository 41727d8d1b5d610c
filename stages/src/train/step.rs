//! One optimiser step: the loss of a batch and its gradients, in micro-batches if need be, then
//! AdamW.

use burn::backend::Flex;
use burn::tensor::{Int, Tensor, TensorData, activation};

use super::optimizer::{AdamW, Moments};
use super::schedule::Schedule;
use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
use crate::model::noise::Noise;
use crate::model::parameters::Parameter;

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

/// A part of a batch that goes through the network at once, with its classes.
pub struct MicroBatch {
    pub batch: Batch,
    pub classes: Vec<i32>,
    /// Its first example's place in the whole batch.
    pub first_row: usize,
}

/// The cross-entropy of `micro` summed over its examples and divided by `batch_rows`, so that
/// the losses of a batch's parts add up to the mean over the whole batch.
///
/// # Shapes
///
/// Result: `[1]`.
pub fn loss(
    model: &Classifier,
    micro: &MicroBatch,
    batch_rows: usize,
    noise: Option<&Noise>,
) -> Tensor<1> {
    let logits = model.logits(&micro.batch, noise);
    let rows = micro.batch.rows;
    let classes = TensorData::new(micro.classes.clone(), [rows, 1]);
    let classes = Tensor::<2, Int>::from_data(classes, &logits.device());
    let chosen = activation::log_softmax(logits, 1).gather(1, classes); // [rows, 1]
    chosen.sum().neg() / batch_rows as f64
}

/// The mean loss of a batch and the gradient of every parameter (`None` where the loss does not
/// depend on it), in the order of `Classifier::parameters`.
pub fn gradients(
    model: &mut Classifier,
    parts: &[MicroBatch],
    noise: impl Fn(usize) -> Option<Noise>,
) -> (Tensor<1>, Vec<Option<Gradient>>) {
    let batch_rows: usize = parts.iter().map(|part| part.batch.rows).sum();
    let mut total: Option<Tensor<1>> = None;
    let mut sums: Vec<Option<Gradient>> = Vec::new();
    for part in parts {
        let loss = loss(model, part, batch_rows, noise(part.first_row).as_ref());
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
pub struct Trainer {
    pub model: Classifier,
    pub moments: Moments,
    pub optimizer: AdamW,
    pub schedule: Schedule,
    pub seed: u64,
    /// Whether dropout is active at all; parity tests turn it off.
    pub dropout: bool,
}

impl Trainer {
    /// One optimiser step over the parts of a batch. Returns the batch's mean loss, on the
    /// device.
    pub fn step(&mut self, parts: &[MicroBatch]) -> Tensor<1> {
        let step = self.moments.steps;
        let (seed, dropout) = (self.seed, self.dropout);
        let noise = |first_row| dropout.then(|| Noise::new(seed, step, first_row));
        let (loss, gradients) = gradients(&mut self.model, parts, noise);
        let rate = self.schedule.rate(step);
        self.optimizer.step(&mut self.model, gradients, &mut self.moments, rate);
        loss
    }
}

//! One optimiser step: the loss of a batch and its gradients, in micro-batches if need be, then
//! AdamW.

use burn::tensor::{Gradients, Tensor};

use super::depth::Depth;
use super::loss::Loss;
use super::objective::{Objective, Part};
use super::optimizer::{AdamW, Moments};
use super::schedule::Schedule;
use crate::model::encoder::WORDS;
use crate::model::noise::Noise;
use crate::model::ops;
use crate::model::parameters::{Network, Parameter};

/// The gradient of one parameter, outside of automatic differentiation.
#[derive(Clone, Debug)]
pub enum Gradient {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
    /// Of a table on the CPU; outside of `rows`, which ascend, it is 0.
    Table {
        whole: Tensor<2>,
        rows: Vec<usize>,
    },
}

impl Gradient {
    fn plus(self, other: Gradient) -> Gradient {
        match (self, other) {
            (Gradient::Vector(left), Gradient::Vector(right)) => {
                Gradient::Vector(ops::sum(left, right))
            }
            (Gradient::Matrix(left), Gradient::Matrix(right)) => {
                Gradient::Matrix(ops::sum(left, right))
            }
            (Gradient::Table { whole, mut rows }, Gradient::Table { whole: other, rows: more }) => {
                let whole = ops::sum_of_rows(whole, &other, &more);
                rows.extend(more);
                rows.sort_unstable();
                rows.dedup();
                Gradient::Table { whole, rows }
            }
            (left, _) => unreachable!("two gradients of one parameter differ in rank: {left:?}"),
        }
    }

    /// Whether the values lie in this process's memory.
    pub fn is_on_host(&self) -> bool {
        match self {
            Gradient::Vector(tensor) => ops::is_on_host(tensor),
            Gradient::Matrix(tensor) | Gradient::Table { whole: tensor, .. } => {
                ops::is_on_host(tensor)
            }
        }
    }

    /// The values in row-major order, without a copy where nobody else holds them; and of a table
    /// the rows that are not all 0.
    pub fn into_host(self) -> (Vec<f32>, Option<Vec<usize>>) {
        let (data, rows) = match self {
            Gradient::Vector(tensor) => (tensor.into_data(), None),
            Gradient::Matrix(tensor) => (tensor.into_data(), None),
            Gradient::Table { whole, rows } => (whole.into_data(), Some(rows)),
        };
        (data.try_into_vec::<f32>().unwrap_or_default(), rows)
    }

    /// The values as one row, on their device.
    pub fn into_flat(self) -> Tensor<1> {
        match self {
            Gradient::Vector(tensor) => tensor,
            Gradient::Matrix(tensor) | Gradient::Table { whole: tensor, .. } => {
                let [rows, columns] = tensor.dims();
                tensor.reshape([rows * columns])
            }
        }
    }
}

/// The loss of a batch and the gradient of every parameter (`None` where the loss does not
/// depend on it or it is not trained), in the order of `Network::parameters`. `noise` makes
/// the randomness of a pass over examples from the first row on, by the pass's number.
///
/// So many parts as `lanes` says (1 or 2) are computed side by side, each by itself from beginning to
/// end: that keeps more cores at work than sharing out each of a step's small operations does.
/// Gradients are added up in the order of the parts, however many threads there are.
pub fn gradients<O: Objective>(
    model: &mut O::Model,
    parts: &[O::Part],
    lanes: usize,
    loss: &O,
    noise: impl Fn(usize, u64) -> Option<Noise> + Sync,
) -> (Tensor<1>, Vec<Option<Gradient>>) {
    let batch_rows: usize = parts.iter().map(Part::rows).sum();
    let total_weight = loss.total_weight(parts);
    let of_part = |model: &mut O::Model, part: &O::Part| {
        let noise = |pass| noise(part.first_row(), pass);
        let loss = loss.of(model, part, total_weight, batch_rows, &noise);
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

/// The gradients that a backward pass has left for the parameters of a model; `words` are the rows of
/// the table of words that are not all 0.
fn taken(
    model: &mut impl Network,
    tape: &mut Gradients,
    mut words: Option<Vec<usize>>,
) -> Vec<Option<Gradient>> {
    let of = |(name, parameter): (String, Parameter)| match parameter {
        Parameter::Vector(tensor) => tensor.grad_remove(tape).map(Gradient::Vector),
        Parameter::Weight(tensor) => tensor.grad_remove(tape).map(Gradient::Matrix),
        Parameter::Table(tensor) => {
            let whole = tensor.grad_remove(tape)?;
            let has_words = name.ends_with(WORDS) && ops::is_on_host(&whole);
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

    /// The loss of a batch, on the device, and the gradients ([`gradients`]). Nothing is changed.
    pub fn gradients(
        &mut self,
        parts: &[O::Part],
        lanes: usize,
    ) -> (Tensor<1>, Vec<Option<Gradient>>) {
        let (seed, step, dropout) = (self.seed, self.moments.steps, self.dropout);
        let noise = |first_row, pass| dropout.then(|| Noise::new(seed, step, first_row, pass));
        gradients(&mut self.model, parts, lanes, &self.loss, noise)
    }

    /// Updates the parameters.
    pub fn apply(&mut self, gradients: Vec<Option<Gradient>>) {
        let rate = self.schedule.rate(self.moments.steps);
        self.optimizer.step(&mut self.model, gradients, &mut self.moments, rate);
    }

    /// One optimiser step over the parts of a batch. Returns the batch's loss, on the device.
    pub fn step(&mut self, parts: &[O::Part], lanes: usize) -> Tensor<1> {
        let (loss, gradients) = self.gradients(parts, lanes);
        self.apply(gradients);
        loss
    }
}

fn untrained<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(tensor.clone().inner())
}

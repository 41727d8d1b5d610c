//! The loss of any [`Task`](crate::data::task::Task).

use burn::tensor::Tensor;

use super::binary_loss::BinaryLoss;
#[cfg(feature = "device")]
use super::loss::row_weight;
use super::loss::{Loss, MicroBatch};
#[cfg(feature = "device")]
use super::objective::Halves;
use super::objective::{Objective, Part};
use super::squared_loss::squared_loss;
use crate::model::classifier::Classifier;
#[cfg(feature = "device")]
use crate::model::device::inputs::{Inputs, Numbers};
use crate::model::noise::Noise;
#[cfg(feature = "device")]
use crate::model::ops;

/// The loss that the labels of the data ask for.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskLoss {
    Single(Loss),
    Multi(BinaryLoss),
    Regression,
}

/// A part of a batch with its labels: the classes of `micro`, or `targets`, row-major
/// `[rows, outputs]`.
pub struct TaskBatch {
    pub micro: MicroBatch,
    pub targets: Vec<f32>,
}

impl TaskBatch {
    /// The sum of the weights of all targets.
    fn total(&self) -> f64 {
        let outputs = self.targets.len() / self.micro.batch.rows.max(1);
        self.micro.examples() * outputs as f64
    }
}

impl Part for TaskBatch {
    fn examples(&self) -> f64 {
        self.micro.examples()
    }

    fn first_row(&self) -> usize {
        self.micro.first_row()
    }

    fn words(&self) -> Option<Vec<usize>> {
        self.micro.words()
    }
}

impl Objective for TaskLoss {
    type Model = Classifier;
    type Part = TaskBatch;

    fn passes(&self) -> usize {
        match self {
            TaskLoss::Single(loss) => loss.passes(),
            TaskLoss::Multi(_) | TaskLoss::Regression => 1,
        }
    }

    fn total_weight(&self, parts: &[TaskBatch]) -> f64 {
        match self {
            TaskLoss::Single(loss) => parts.iter().flat_map(|part| loss.weights(&part.micro)).sum(),
            TaskLoss::Multi(_) | TaskLoss::Regression => parts.iter().map(TaskBatch::total).sum(),
        }
    }

    fn of(
        &self,
        model: &Classifier,
        part: &TaskBatch,
        total_weight: f64,
        batch_examples: f64,
        noise: &dyn Fn(u64) -> Option<Noise>,
    ) -> Tensor<1> {
        let outputs = || model.logits(&part.micro.batch, noise(0).as_ref());
        match self {
            TaskLoss::Single(loss) => {
                loss.of(model, &part.micro, total_weight, batch_examples, noise)
            }
            TaskLoss::Multi(loss) => {
                loss.of(outputs(), &part.targets, &part.micro.weights, total_weight)
            }
            TaskLoss::Regression => {
                squared_loss(outputs(), &part.targets, &part.micro.weights, total_weight)
            }
        }
    }

    #[cfg(feature = "device")]
    fn halves(&self) -> Option<&dyn Halves<Classifier, TaskBatch>> {
        Some(self)
    }
}

/// The numbers of a row: those of [`Loss`], the two factors of each label of [`BinaryLoss`], or the
/// target, the weight and the divisor of the squared error.
#[cfg(feature = "device")]
impl Halves<Classifier, TaskBatch> for TaskLoss {
    fn numbers(
        &self,
        model: &Classifier,
        part: &TaskBatch,
        total_weight: f64,
        batch_examples: f64,
        noises: &[Noise],
    ) -> Option<Numbers> {
        let TaskBatch { micro, targets } = part;
        let numbers: Vec<f32> = match self {
            TaskLoss::Single(loss) => {
                return loss.numbers(model, micro, total_weight, batch_examples, noises);
            }
            TaskLoss::Multi(loss) => {
                let labels = model.classes();
                let factors = loss.factors(targets, labels, &micro.weights, total_weight);
                let [of_logit, of_logarithm] = &factors;
                let rows = of_logit.chunks(labels).zip(of_logarithm.chunks(labels));
                rows.flat_map(|(one, two)| [one, two].concat()).collect()
            }
            TaskLoss::Regression => {
                let weight = |row| row_weight(&micro.weights, row) as f32;
                let rows = targets.iter().enumerate();
                rows.flat_map(|(row, target)| [*target, weight(row), total_weight as f32]).collect()
            }
        };
        model.numbers(&micro.batch, noises, &numbers)
    }

    fn send(&self, model: &Classifier, numbers: &Numbers) -> Option<Inputs> {
        model.inputs(numbers)
    }

    fn of_inputs(
        &self,
        model: &Classifier,
        part: &TaskBatch,
        inputs: &Inputs,
        noises: &[Noise],
    ) -> Tensor<1> {
        let batch = &part.micro.batch;
        let outputs = || model.logits_of_inputs(batch, noises.first(), inputs.clone());
        let numbers = |first: usize, count: usize| inputs.targets().narrow(1, first, count);
        match self {
            TaskLoss::Single(loss) => loss.of_inputs(model, &part.micro, inputs, noises),
            TaskLoss::Multi(_) => {
                let labels = model.classes();
                BinaryLoss::summed(outputs(), [0, labels].map(|first| numbers(first, labels)))
            }
            TaskLoss::Regression => {
                let difference = outputs() - numbers(0, 1);
                let squares = difference.clone() * difference * numbers(1, 1);
                let divisor = numbers(2, 1).narrow(0, 0, 1).reshape([1]);
                ops::total(squares) / divisor
            }
        }
    }
}

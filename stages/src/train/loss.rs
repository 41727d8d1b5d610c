//! The loss of a batch: cross-entropy with label smoothing and class weights, and the
//! R-Drop term.

use burn::tensor::{Tensor, TensorData, activation};

use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
#[cfg(feature = "device")]
use crate::model::device::inputs::{Inputs, Numbers};
use crate::model::noise::Noise;
use crate::model::ops;
#[cfg(feature = "device")]
use crate::train::objective::Halves;
use crate::train::objective::{Objective, Part};

/// The terms of the loss. The default is plain cross-entropy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loss {
    /// Share of each target that is spread evenly over all classes (Szegedy et al. 2016).
    pub label_smoothing: f64,
    /// A weight per class; empty means equal weights.
    pub class_weights: Vec<f64>,
    /// The weight of the R-Drop term (Wu et al. 2021); 0 means a single pass.
    pub r_drop: f64,
}

/// A part of a batch that goes through the network at once, with its classes.
pub struct MicroBatch {
    pub batch: Batch,
    pub classes: Vec<i32>,
    /// The weight of each row, the share of its example if that has several windows; empty means 1
    /// for all.
    pub weights: Vec<f64>,
    /// The index of its first example in the whole batch.
    pub first_row: usize,
}

impl Loss {
    /// The weight of an example of a class.
    pub fn weight(&self, class: i32) -> f64 {
        let weight = usize::try_from(class).ok().and_then(|class| self.class_weights.get(class));
        weight.copied().unwrap_or(1.0)
    }

    /// The weight of each row of a part, by its class and its share of an example.
    pub(super) fn weights(&self, micro: &MicroBatch) -> impl Iterator<Item = f64> {
        let rows = micro.classes.iter().enumerate();
        rows.map(|(row, class)| self.weight(*class) * row_weight(&micro.weights, row))
    }

    /// The factor of R-Drop's divergences.
    fn agreement_share(&self, batch_examples: f64) -> f64 {
        self.r_drop / (2.0 * batch_examples.max(1.0))
    }

    /// The factor of each log-probability, `[rows, classes]`.
    fn targets(&self, micro: &MicroBatch, classes: usize, total_weight: f64) -> Vec<f32> {
        let mut values = Vec::with_capacity(micro.classes.len() * classes);
        for (row, gold) in micro.classes.iter().enumerate() {
            let row_weight = row_weight(&micro.weights, row);
            for class in 0..classes as i32 {
                let spread = self.label_smoothing / classes as f64;
                let own = if class == *gold { 1.0 - self.label_smoothing } else { 0.0 };
                let weight = self.weight(class) * row_weight;
                values.push(((own + spread) * weight / total_weight) as f32);
            }
        }
        values
    }
}

/// The weight of a row. Where there are no weights, all have 1.
pub(super) fn row_weight(weights: &[f64], row: usize) -> f64 {
    weights.get(row).copied().unwrap_or(1.0)
}

impl Part for MicroBatch {
    fn examples(&self) -> f64 {
        match self.weights.is_empty() {
            true => self.batch.rows as f64,
            false => self.weights.iter().sum(),
        }
    }

    fn first_row(&self) -> usize {
        self.first_row
    }

    fn words(&self) -> Option<Vec<usize>> {
        Some(self.batch.words())
    }
}

impl Objective for Loss {
    type Model = Classifier;
    type Part = MicroBatch;

    fn passes(&self) -> usize {
        if self.r_drop > 0.0 { 2 } else { 1 }
    }

    /// The sum of the weights of a batch's examples.
    fn total_weight(&self, parts: &[MicroBatch]) -> f64 {
        parts.iter().flat_map(|part| self.weights(part)).sum()
    }

    /// Cross-entropy is `torch.nn.functional.cross_entropy`'s with `weight` and
    /// `label_smoothing`. R-Drop's loss is the mean of the two passes' cross-entropies and
    /// `r_drop` times the mean of their Kullback-Leibler divergences in both directions.
    ///
    /// # Shapes
    ///
    /// Result: `[1]`.
    fn of(
        &self,
        model: &Classifier,
        micro: &MicroBatch,
        total_weight: f64,
        batch_examples: f64,
        noise: &dyn Fn(u64) -> Option<Noise>,
    ) -> Tensor<1> {
        let logits = |number| model.logits(&micro.batch, noise(number).as_ref());
        let first = logits(0); // [rows, classes]
        let targets = self.targets(micro, first.dims()[1], total_weight);
        let targets = TensorData::new(targets, first.dims());
        let targets = Tensor::<2>::from_data(targets, &first.device());
        if self.passes() == 1 {
            return ops::cross_entropy(first, &targets);
        }
        let share = self.agreement_share(batch_examples);
        let agreement = |divergence| ops::total(weighted(divergence, &micro.weights)) * share;
        r_drop([first, logits(1)], targets, agreement)
    }

    #[cfg(feature = "device")]
    fn halves(&self) -> Option<&dyn Halves<Classifier, MicroBatch>> {
        Some(self)
    }
}

/// The loss of two passes, given their logits and what their divergences, `[rows, classes]`, add.
fn r_drop(
    logits: [Tensor<2>; 2],
    targets: Tensor<2>,
    agreement: impl Fn(Tensor<2>) -> Tensor<1>,
) -> Tensor<1> {
    let cross_entropy = |logarithms: Tensor<2>| ops::total(logarithms * targets.clone()).neg();
    let [first, second] = logits.map(|logits| activation::log_softmax(logits, 1));
    // KL(p‖q) + KL(q‖p) = Σ (p - q)(ln p - ln q)
    let difference = first.clone() - second.clone();
    let divergence = (first.clone().exp() - second.clone().exp()) * difference;
    let agreement = agreement(divergence);
    (cross_entropy(first) + cross_entropy(second)) / 2.0 + agreement
}

/// The numbers of a row: the factors of its log-probabilities and, for R-Drop, the factor of its
/// divergences.
#[cfg(feature = "device")]
impl Halves<Classifier, MicroBatch> for Loss {
    fn numbers(
        &self,
        model: &Classifier,
        micro: &MicroBatch,
        total_weight: f64,
        batch_examples: f64,
        noises: &[Noise],
    ) -> Option<Numbers> {
        let targets = self.targets(micro, model.classes(), total_weight);
        if self.passes() == 1 {
            return model.numbers(&micro.batch, noises, &targets);
        }
        let share = self.agreement_share(batch_examples);
        let rows = targets.chunks(model.classes()).enumerate();
        let of_row = |(row, targets): (usize, &[f32])| {
            let factor = row_weight(&micro.weights, row) * share;
            [targets, &[factor as f32]].concat()
        };
        model.numbers(&micro.batch, noises, &rows.flat_map(of_row).collect::<Vec<f32>>())
    }

    fn send(&self, model: &Classifier, numbers: &Numbers) -> Option<Inputs> {
        model.inputs(numbers)
    }

    fn of_inputs(
        &self,
        model: &Classifier,
        micro: &MicroBatch,
        inputs: &Inputs,
        noises: &[Noise],
    ) -> Tensor<1> {
        let logits = |pass: usize| {
            model.logits_of_inputs(&micro.batch, noises.get(pass), inputs.of_pass(pass))
        };
        let targets = inputs.targets();
        if self.passes() == 1 {
            return ops::cross_entropy(logits(0), &targets);
        }
        let classes = model.classes();
        let factors = targets.clone().narrow(1, classes, 1);
        let agreement = |divergence: Tensor<2>| ops::total(divergence * factors.clone());
        r_drop([logits(0), logits(1)], targets.narrow(1, 0, classes), agreement)
    }
}

/// A tensor `[rows, columns]`, each row times its weight.
pub(super) fn weighted(rows: Tensor<2>, weights: &[f64]) -> Tensor<2> {
    if weights.is_empty() {
        return rows;
    }
    let weights: Vec<f32> = weights.iter().map(|weight| *weight as f32).collect();
    let weights = TensorData::new(weights, [rows.dims()[0], 1]);
    let weights = Tensor::<2>::from_data(weights, &rows.device());
    rows * weights
}

/// Weights that let every class count the same, as scikit-learn's `class_weight="balanced"`:
/// `examples / (classes · examples of the class)`; 1 for a class without examples.
pub fn balanced_weights(gold: &[usize], classes: usize) -> Vec<f64> {
    let count = |class| gold.iter().filter(|gold| **gold == class).count();
    let weight = |class| match count(class) {
        0 => 1.0,
        found => gold.len() as f64 / (classes * found) as f64,
    };
    (0..classes).map(weight).collect()
}

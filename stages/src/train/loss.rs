//! The loss of a batch: cross-entropy with label smoothing and class weights, and the
//! R-Drop term.

use burn::tensor::{Tensor, TensorData, activation};

use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
use crate::model::noise::Noise;
use crate::model::ops;
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
    /// The index of its first example in the whole batch.
    pub first_row: usize,
}

impl Loss {
    /// The weight of an example of a class.
    pub fn weight(&self, class: i32) -> f64 {
        let weight = usize::try_from(class).ok().and_then(|class| self.class_weights.get(class));
        weight.copied().unwrap_or(1.0)
    }

    /// The factor of each log-probability, `[rows, classes]`.
    fn targets(&self, micro: &MicroBatch, classes: usize, total_weight: f64) -> TensorData {
        let mut values = Vec::with_capacity(micro.classes.len() * classes);
        for gold in &micro.classes {
            for class in 0..classes as i32 {
                let spread = self.label_smoothing / classes as f64;
                let own = if class == *gold { 1.0 - self.label_smoothing } else { 0.0 };
                values.push(((own + spread) * self.weight(class) / total_weight) as f32);
            }
        }
        TensorData::new(values, [micro.classes.len(), classes])
    }
}

impl Part for MicroBatch {
    fn rows(&self) -> usize {
        self.batch.rows
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
        let classes = parts.iter().flat_map(|part| &part.classes);
        classes.map(|class| self.weight(*class)).sum()
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
        batch_rows: usize,
        noise: &dyn Fn(u64) -> Option<Noise>,
    ) -> Tensor<1> {
        let logits = |number| model.logits(&micro.batch, noise(number).as_ref());
        let first = logits(0); // [rows, classes]
        let targets = self.targets(micro, first.dims()[1], total_weight);
        let targets = Tensor::<2>::from_data(targets, &first.device());
        if self.passes() == 1 {
            return ops::cross_entropy(first, &targets);
        }
        let cross_entropy = |logarithms: Tensor<2>| (logarithms * targets.clone()).sum().neg();
        let [first, second] = [first, logits(1)].map(|logits| activation::log_softmax(logits, 1));
        // KL(p‖q) + KL(q‖p) = Σ (p - q)(ln p - ln q)
        let difference = first.clone() - second.clone();
        let divergence = ((first.clone().exp() - second.clone().exp()) * difference).sum();
        let agreement = divergence * (self.r_drop / (2.0 * batch_rows.max(1) as f64));
        (cross_entropy(first) + cross_entropy(second)) / 2.0 + agreement
    }
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

//! The loss of several labels a text: binary cross-entropy of each label, as PyTorch's
//! `BCEWithLogitsLoss` with `pos_weight`, the mean over all rows and labels.

use burn::tensor::{Tensor, TensorData, activation};

use super::loss::row_weight;
use crate::model::ops;

/// Binary cross-entropy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BinaryLoss {
    /// The weight of the rows that have a label, for each label; empty means 1 for all.
    pub positive_weights: Vec<f64>,
}

impl BinaryLoss {
    fn positive_weight(&self, label: usize) -> f64 {
        self.positive_weights.get(label).copied().unwrap_or(1.0)
    }

    /// The loss, summed over rows and labels, each row times its weight, and divided by `total`.
    /// `targets` has 1 where a row has a label, else 0. Without `weights` all rows have 1.
    ///
    /// With σ the logistic function and w the weight, a row's loss of a label is
    /// −w·ln σ(x) if it has the label, else −ln σ(−x) = x − ln σ(x).
    ///
    /// # Shapes
    ///
    /// `logits` and `targets` are `[rows, labels]`, the result is `[1]`.
    pub fn of(&self, logits: Tensor<2>, targets: &[f32], weights: &[f64], total: f64) -> Tensor<1> {
        let (dims, device) = (logits.dims(), logits.device());
        let factors = self.factors(targets, dims[1], weights, total);
        let factors = factors.map(|values| TensorData::new(values, dims));
        BinaryLoss::summed(logits, factors.map(|data| Tensor::from_data(data, &device)))
    }

    /// The factors of the logits and of the logarithms of the loss, each `[rows, labels]`.
    pub(super) fn factors(
        &self,
        targets: &[f32],
        labels: usize,
        weights: &[f64],
        total: f64,
    ) -> [Vec<f32>; 2] {
        let mut of_logit = Vec::with_capacity(targets.len());
        let mut of_logarithm = Vec::with_capacity(targets.len());
        for (row, targets) in targets.chunks(labels.max(1)).enumerate() {
            let weight = row_weight(weights, row);
            for (label, target) in targets.iter().enumerate() {
                let has = weight * f64::from(*target);
                let lacks = weight * (1.0 - f64::from(*target));
                of_logit.push((lacks / total) as f32);
                of_logarithm.push(((lacks + self.positive_weight(label) * has) / total) as f32);
            }
        }
        [of_logit, of_logarithm]
    }

    /// The loss, given its [`factors`](Self::factors).
    pub(super) fn summed(logits: Tensor<2>, factors: [Tensor<2>; 2]) -> Tensor<1> {
        let [of_logit, of_logarithm] = factors;
        let logarithms = activation::log_sigmoid(logits.clone());
        ops::total(logits * of_logit - logarithms * of_logarithm)
    }
}

/// Weights that let the rows with a label count as much as those without it: their ratio, and 1 for
/// a label that no row has. `sets` are the labels of each row.
pub fn balanced_positive_weights(sets: &[Vec<usize>], labels: usize) -> Vec<f64> {
    let mut counts = vec![0_usize; labels];
    sets.iter().flatten().for_each(|label| counts[*label] += 1);
    let weight = |count: &usize| match count {
        0 => 1.0,
        count => (sets.len() - count) as f64 / *count as f64,
    };
    counts.iter().map(weight).collect()
}

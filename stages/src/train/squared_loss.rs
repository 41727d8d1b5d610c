//! The loss of numbers: the squared error, as PyTorch's `MSELoss`, the mean over all rows.

use burn::tensor::{Tensor, TensorData};

use super::loss::weighted;
use crate::model::ops;

/// The squared error, summed over rows, each times its weight, and divided by `total`. Without
/// `weights` all rows have 1.
///
/// # Shapes
///
/// `outputs` is `[rows, 1]`, `targets` has a number for each row, the result is `[1]`.
pub fn squared_loss(outputs: Tensor<2>, targets: &[f32], weights: &[f64], total: f64) -> Tensor<1> {
    let [rows, columns] = outputs.dims();
    let targets = TensorData::new(targets.to_vec(), [rows, columns]);
    let difference = outputs.clone() - Tensor::<2>::from_data(targets, &outputs.device());
    ops::total(weighted(difference.clone() * difference, weights)) / total
}

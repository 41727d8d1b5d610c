//! The loss of numbers: the squared error, as PyTorch's `MSELoss`, the mean over all rows.

use burn::tensor::{Tensor, TensorData};

/// The squared error, summed over rows and divided by `total`.
///
/// # Shapes
///
/// `outputs` is `[rows, 1]`, `targets` has a number for each row, the result is `[1]`.
pub fn squared_loss(outputs: Tensor<2>, targets: &[f32], total: f64) -> Tensor<1> {
    let [rows, columns] = outputs.dims();
    let targets = TensorData::new(targets.to_vec(), [rows, columns]);
    let difference = outputs.clone() - Tensor::<2>::from_data(targets, &outputs.device());
    (difference.clone() * difference).sum() / total
}

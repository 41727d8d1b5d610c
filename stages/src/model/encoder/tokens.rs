//! Selects tokens.

use burn::tensor::{Int, Tensor, TensorData};

/// The states of the tokens at `positions`, row-major indices.
///
/// # Shapes
///
/// `[rows, width, hidden]` to `[positions, hidden]`.
pub(super) fn chosen(states: Tensor<3>, positions: &[usize]) -> Tensor<2> {
    let [rows, width, hidden] = states.dims();
    let indices: Vec<i32> = positions.iter().map(|position| *position as i32).collect();
    let indices = TensorData::new(indices, [positions.len()]);
    let indices = Tensor::<1, Int>::from_data(indices, &states.device());
    states.reshape([rows * width, hidden]).select(0, indices)
}

//! The mean over the tokens of an example.

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{Backing, are_rows_apart, backing, contiguous, tensor, values};

/// The weighted mean of the states of each row, where `shares`, `[rows, tokens]`, are 0 for padding;
/// `None` outside of [`rows_apart`](super::rows_apart) and if the tensors are not on the CPU. Padding
/// is not added up.
///
/// # Shapes
///
/// `[rows, tokens, hidden]` to `[rows, hidden]`.
pub fn mean(states: &Tensor<3>, shares: &[f32]) -> Option<Tensor<2>> {
    let Backing::Plain(states) = backing(states) else { return None };
    if !are_rows_apart() {
        return None;
    }
    let states = contiguous(&states);
    let [rows, tokens, hidden] = states.shape().dims::<3>();
    let mut means = vec![0.0f32; rows * hidden];
    let of_rows = values(&states).par_chunks((tokens * hidden).max(1));
    means
        .par_chunks_mut(hidden.max(1))
        .zip(of_rows)
        .zip(shares.par_chunks(tokens.max(1)))
        .for_each(|((mean, states), shares)| {
            for (state, share) in states.chunks(hidden.max(1)).zip(shares) {
                if *share != 0.0 {
                    mean.iter_mut().zip(state).for_each(|(mean, value)| *mean += share * value);
                }
            }
        });
    Some(Tensor::from_primitive::<Flex>(tensor(means, [rows, hidden])))
}

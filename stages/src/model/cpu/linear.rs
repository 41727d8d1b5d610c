//! The linear layer `y = x W + b` over all tokens at once.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::matrix::{Matrix, Target};
use super::product::product;
use super::{Backing, backing, contiguous, tensor, values, written};
use crate::model::precision::Precision;

/// Maps `[…, in]` to `[…, out]`. `None` if the tensors are not on the CPU.
pub fn linear<const D: usize>(
    input: &Tensor<D>,
    weight: &Tensor<2>,
    bias: &Tensor<1>,
    precision: Precision,
) -> Option<Tensor<D>> {
    match (backing(input), backing(weight), backing(bias)) {
        (Backing::Plain(input), Backing::Plain(weight), Backing::Plain(bias)) => {
            let output = forward(&contiguous(&input), &weight, &bias, precision);
            Some(Tensor::from_primitive::<Flex>(output))
        }
        (Backing::Recorded(input), Backing::Recorded(weight), Backing::Recorded(bias)) => {
            let (input, input_node) = input.into_parts();
            let (weight, weight_node) = weight.into_parts();
            let (bias, bias_node) = bias.into_parts();
            let input = contiguous(&input);
            let output = forward(&input, &weight, &bias, precision);
            let nodes = [input_node, weight_node, bias_node];
            let output = match Linear.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish((input, weight, precision), output),
                OpsKind::UnTracked(prepared) => prepared.finish(output),
            };
            Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
        }
        _ => None,
    }
}

fn forward(
    input: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    precision: Precision,
) -> FlexTensor {
    let weight = contiguous(weight);
    let mut shape = input.shape();
    let [inputs, outputs] = weight.shape().dims::<2>();
    let rows = values(input).len() / inputs.max(1);
    let bias = values(bias);
    let (left, right) =
        (Matrix::rows(values(input), inputs), Matrix::rows(values(&weight), outputs));
    // SAFETY: the slices have exactly these sizes, and the product writes every element.
    let output = unsafe {
        written(rows * outputs, |out| {
            let target = Target::rows(out, outputs).plus(bias);
            product(precision, [rows, inputs, outputs], left, right, target, true);
        })
    };
    let last = shape.num_dims() - 1;
    shape[last] = outputs;
    FlexTensor::from_data(TensorData::new(output, shape))
}

#[derive(Debug)]
struct Linear;

impl Backward<Flex, 3> for Linear {
    type State = (FlexTensor, FlexTensor, Precision);

    fn backward(
        self,
        ops: Ops<(FlexTensor, FlexTensor, Precision), 3>,
        grads: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let (input, weight, precision) = ops.state;
        let weight = contiguous(&weight);
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let [inputs, outputs] = weight.shape().dims::<2>();
        let rows = values(&input).len() / inputs.max(1);
        let [input_node, weight_node, bias_node] = ops.parents;
        let of_output = Matrix::rows(values(&gradient), outputs);
        if let Some(node) = input_node {
            let transposed = Matrix::rows(values(&weight), outputs).transposed();
            let sizes = [rows, outputs, inputs];
            // SAFETY: the slices have exactly these sizes, and the product writes every element.
            let result = unsafe {
                written(rows * inputs, |out| {
                    let target = Target::rows(out, inputs);
                    product(precision, sizes, of_output, transposed, target, true);
                })
            };
            let result = FlexTensor::from_data(TensorData::new(result, input.shape()));
            grads.register::<Flex>(node.id, result);
        }
        if let Some(node) = weight_node {
            let transposed = Matrix::rows(values(&input), inputs).transposed();
            let sizes = [inputs, rows, outputs];
            // SAFETY: the slices have exactly these sizes, and the product writes every element.
            let result = unsafe {
                written(inputs * outputs, |out| {
                    let target = Target::rows(out, outputs);
                    product(precision, sizes, transposed, of_output, target, true);
                })
            };
            grads.register::<Flex>(node.id, tensor(result, [inputs, outputs]));
        }
        if let Some(node) = bias_node {
            let result = column_sums(values(&gradient), outputs);
            grads.register::<Flex>(node.id, tensor(result, [outputs]));
        }
    }
}

/// Rows per partial sum.
const ROWS: usize = 128;

/// The sum of each column of a row-major matrix: within blocks of rows, then over the blocks in
/// order.
pub fn column_sums(matrix: &[f32], width: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = matrix
        .par_chunks((ROWS * width).max(1))
        .map(|rows| {
            let mut sums = vec![0.0f32; width];
            for row in rows.chunks_exact(width) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += value;
                }
            }
            sums
        })
        .collect();
    in_order(partial, width)
}

/// Adds partial sums in order.
pub fn in_order(partial: Vec<Vec<f32>>, width: usize) -> Vec<f32> {
    let mut total = vec![0.0; width];
    for sums in partial {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    total
}

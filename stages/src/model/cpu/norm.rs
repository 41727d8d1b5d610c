//! Layer norm (Ba et al. 2016), alone and in one pass with dropout and a residual sum. The normalised rows and their
//! scales are saved for the backward pass; the dropout mask is recomputed.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::linear::in_order;
use super::vector::{sum_of, vectorised};
use super::{Backing, backing, contiguous, tensor, values};
use crate::model::noise::Mask;

/// Rows per task, and per partial sum of the gradients of the parameters.
const ROWS: usize = 32;

/// `norm(branch · mask + residual) · weight + bias` over `[rows, tokens, hidden]`; `None`
/// if the tensors are not on the CPU.
pub fn add_norm(
    branch: &Tensor<3>,
    residual: &Tensor<3>,
    mask: Option<Mask>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    eps: f64,
) -> Option<Tensor<3>> {
    match (backing(branch), backing(residual), backing(weight), backing(bias)) {
        (
            Backing::Plain(branch),
            Backing::Plain(residual),
            Backing::Plain(weight),
            Backing::Plain(bias),
        ) => {
            let (output, _) = forward(&branch, Some(&residual), mask.as_ref(), &weight, &bias, eps);
            Some(Tensor::from_primitive::<Flex>(output))
        }
        (
            Backing::Recorded(branch),
            Backing::Recorded(residual),
            Backing::Recorded(weight),
            Backing::Recorded(bias),
        ) => {
            let (branch, branch_node) = branch.into_parts();
            let (residual, residual_node) = residual.into_parts();
            let (weight, weight_node) = weight.into_parts();
            let (bias, bias_node) = bias.into_parts();
            let (output, kept) =
                forward(&branch, Some(&residual), mask.as_ref(), &weight, &bias, eps);
            let nodes = [branch_node, residual_node, weight_node, bias_node];
            let output = match AddNorm.prepare::<NoCheckpointing>(nodes).compute_bound().stateful()
            {
                OpsKind::Tracked(prepared) => prepared.finish((kept, weight, mask), output),
                OpsKind::UnTracked(prepared) => prepared.finish(output),
            };
            Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
        }
        _ => None,
    }
}

/// `norm(input) · weight + bias` over `[rows, tokens, hidden]`; `None` if the tensors are not on the
/// CPU.
pub fn norm(
    input: &Tensor<3>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    eps: f64,
) -> Option<Tensor<3>> {
    match (backing(input), backing(weight), backing(bias)) {
        (Backing::Plain(input), Backing::Plain(weight), Backing::Plain(bias)) => {
            let (output, _) = forward(&input, None, None, &weight, &bias, eps);
            Some(Tensor::from_primitive::<Flex>(output))
        }
        (Backing::Recorded(input), Backing::Recorded(weight), Backing::Recorded(bias)) => {
            let (input, input_node) = input.into_parts();
            let (weight, weight_node) = weight.into_parts();
            let (bias, bias_node) = bias.into_parts();
            let (output, kept) = forward(&input, None, None, &weight, &bias, eps);
            let nodes = [input_node, weight_node, bias_node];
            let output = match Norm.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => prepared.finish((kept, weight), output),
                OpsKind::UnTracked(prepared) => prepared.finish(output),
            };
            Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
        }
        _ => None,
    }
}

/// The tensors that the backward pass needs.
#[derive(Clone, Debug)]
struct SavedForBackward {
    /// `[rows, tokens, hidden]`; each token has mean 0 and variance 1.
    normalised: FlexTensor,
    /// `1 / sqrt(variance + eps)` of each token, `[rows * tokens]`.
    scales: FlexTensor,
}

fn forward(
    branch: &FlexTensor,
    residual: Option<&FlexTensor>,
    mask: Option<&Mask>,
    weight: &FlexTensor,
    bias: &FlexTensor,
    eps: f64,
) -> (FlexTensor, SavedForBackward) {
    let (branch, residual) = (contiguous(branch), residual.map(contiguous));
    let [rows, tokens, hidden] = branch.shape().dims::<3>();
    let mut output = vec![0.0; rows * tokens * hidden];
    let mut normalised = vec![0.0; rows * tokens * hidden];
    let mut scales = vec![0.0; rows * tokens];
    let (weight, bias) = (values(weight), values(bias));
    let block = (ROWS * hidden).max(1);
    output
        .par_chunks_mut(block)
        .zip(normalised.par_chunks_mut(block))
        .zip(scales.par_chunks_mut(ROWS))
        .zip(values(&branch).par_chunks(block))
        .enumerate()
        .for_each(|(index, (((output, normalised), scales), branch))| {
            for (within, scale) in scales.iter_mut().enumerate() {
                let cells = within * hidden..(within + 1) * hidden;
                let sum = &mut normalised[cells.clone()];
                sum.copy_from_slice(&branch[cells.clone()]);
                if let Some(mask) = mask {
                    let place = index * ROWS + within;
                    mask.apply(place / tokens, (place % tokens) * hidden, sum);
                }
                let start = index * block + cells.start;
                let residual = residual.as_ref().map(|all| &values(all)[start..start + hidden]);
                *scale = normalise(sum, residual, weight, bias, eps as f32, &mut output[cells]);
            }
        });
    let shape = [rows, tokens, hidden];
    let kept = SavedForBackward {
        normalised: tensor(normalised, shape),
        scales: tensor(scales, [rows * tokens]),
    };
    (tensor(output, shape), kept)
}

vectorised! {
    /// Adds `residual` to `sum`, normalises it in place and writes the output. Returns the scale.
    fn normalise(
        sum: &mut [f32],
        residual: Option<&[f32]>,
        weight: &[f32],
        bias: &[f32],
        eps: f32,
        output: &mut [f32],
    ) -> f32 {
        if let Some(residual) = residual {
            for (sum, residual) in sum.iter_mut().zip(residual) {
                *sum += residual;
            }
        }
        let count = sum.len() as f32;
        let mean = sum_of([&*sum], |[value]| value) / count;
        let variance = sum_of([&*sum], |[value]| (value - mean) * (value - mean)) / count;
        let scale = 1.0 / (variance + eps).sqrt();
        for (((sum, output), weight), bias) in sum.iter_mut().zip(output).zip(weight).zip(bias) {
            *sum = (*sum - mean) * scale;
            *output = *sum * weight + bias;
        }
        scale
    }
}

#[derive(Debug)]
struct AddNorm;

impl Backward<Flex, 4> for AddNorm {
    type State = (SavedForBackward, FlexTensor, Option<Mask>);

    fn backward(
        self,
        ops: Ops<(SavedForBackward, FlexTensor, Option<Mask>), 4>,
        grads: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let (kept, weight, mask) = ops.state;
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let shape @ [_, tokens, hidden] = gradient.shape().dims::<3>();
        let [of_sum, of_weight, of_bias] = gradients(&kept, &weight, &gradient);
        let [branch, residual, weight_node, bias_node] = ops.parents;
        if let Some(node) = branch {
            let of_branch = match &mask {
                Some(mask) => {
                    let mut of_branch = values(&of_sum).to_vec();
                    of_branch.par_chunks_mut(hidden.max(1)).enumerate().for_each(
                        |(place, cells)| {
                            mask.apply(place / tokens, (place % tokens) * hidden, cells);
                        },
                    );
                    tensor(of_branch, shape)
                }
                None => of_sum.clone(),
            };
            grads.register::<Flex>(node.id, of_branch);
        }
        if let Some(node) = residual {
            grads.register::<Flex>(node.id, of_sum);
        }
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, of_weight);
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, of_bias);
        }
    }
}

#[derive(Debug)]
struct Norm;

impl Backward<Flex, 3> for Norm {
    type State = (SavedForBackward, FlexTensor);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (kept, weight) = ops.state;
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let found = gradients(&kept, &weight, &gradient);
        for (node, found) in ops.parents.into_iter().zip(found) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, found);
            }
        }
    }
}

/// The gradients of what is normalised, of the weight and of the bias.
fn gradients(
    kept: &SavedForBackward,
    weight: &FlexTensor,
    gradient: &FlexTensor,
) -> [FlexTensor; 3] {
    let shape @ [rows, tokens, hidden] = gradient.shape().dims::<3>();
    let mut of_sum = vec![0.0; rows * tokens * hidden];
    let block = (ROWS * hidden).max(1);
    let partial: Vec<(Vec<f32>, Vec<f32>)> = of_sum
        .par_chunks_mut(block)
        .zip(values(gradient).par_chunks(block))
        .zip(values(&kept.normalised).par_chunks(block))
        .zip(values(&kept.scales).par_chunks(ROWS))
        .map(|(((of_sum, gradient), normalised), scales)| {
            let mut sums = (vec![0.0; hidden], vec![0.0; hidden]);
            for (within, scale) in scales.iter().enumerate() {
                let cells = within * hidden..(within + 1) * hidden;
                backward_row(
                    &gradient[cells.clone()],
                    &normalised[cells.clone()],
                    values(weight),
                    *scale,
                    &mut of_sum[cells],
                    &mut sums.0,
                    &mut sums.1,
                );
            }
            sums
        })
        .collect();
    let (of_weight, of_bias) = partial.into_iter().unzip();
    let sums = |partial| tensor(in_order(partial, hidden), [hidden]);
    [tensor(of_sum, shape), sums(of_weight), sums(of_bias)]
}

vectorised! {
    fn backward_row(
        gradient: &[f32],
        normalised: &[f32],
        weight: &[f32],
        scale: f32,
        of_sum: &mut [f32],
        of_weight: &mut [f32],
        of_bias: &mut [f32],
    ) {
        let count = gradient.len() as f32;
        let mean = sum_of([gradient, weight], |[gradient, weight]| gradient * weight) / count;
        let along = sum_of([gradient, weight, normalised], |[gradient, weight, normalised]| {
            gradient * weight * normalised
        }) / count;
        for ((((of_sum, gradient), weight), normalised), (of_weight, of_bias)) in of_sum
            .iter_mut()
            .zip(gradient)
            .zip(weight)
            .zip(normalised)
            .zip(of_weight.iter_mut().zip(of_bias.iter_mut()))
        {
            *of_sum = (gradient * weight - mean - normalised * along) * scale;
            *of_weight += gradient * normalised;
            *of_bias += gradient;
        }
    }
}

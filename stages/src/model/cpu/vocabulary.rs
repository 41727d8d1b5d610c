//! The output layer over the vocabulary, fused with its cross-entropy: logits, softmax and the
//! gradient with respect to the logits share one buffer.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::linear::column_sums;
use super::matrix::{Matrix, Target};
use super::product::product;
use super::vector::{LANES, exp, sum_of, vectorised};
use super::{Backing, backing, contiguous, tensor, values, written};
use crate::model::precision::Precision;

/// `scale · Σ -ln softmax(states · tableᵀ + bias)[target]`. `None` if the tensors are not on the
/// CPU.
///
/// # Shapes
///
/// `states` is `[tokens, hidden]`, `table` is `[vocabulary, hidden]` and `bias` is `[vocabulary]`.
/// There is one target per token, smaller than the vocabulary. The result is `[1]`.
pub fn cross_entropy(
    states: &Tensor<2>,
    table: &Tensor<2>,
    bias: &Tensor<1>,
    targets: &[u32],
    scale: f64,
    precision: Precision,
) -> Option<Tensor<1>> {
    match (backing(states), backing(table), backing(bias)) {
        (Backing::Plain(states), Backing::Plain(table), Backing::Plain(bias)) => {
            let (loss, _) = forward(&contiguous(&states), &table, &bias, targets, scale, precision);
            Some(Tensor::from_primitive::<Flex>(tensor(vec![loss], [1])))
        }
        (Backing::Recorded(states), Backing::Recorded(table), Backing::Recorded(bias)) => {
            let (states, states_node) = states.into_parts();
            let (table, table_node) = table.into_parts();
            let (bias, bias_node) = bias.into_parts();
            let states = contiguous(&states);
            let (loss, of_logits) = forward(&states, &table, &bias, targets, scale, precision);
            let loss = tensor(vec![loss], [1]);
            let nodes = [states_node, table_node, bias_node];
            let output =
                match CrossEntropy.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
                    OpsKind::Tracked(prepared) => {
                        let shape = [targets.len(), bias.shape().dims::<1>()[0]];
                        let of_logits = tensor(of_logits, shape);
                        prepared.finish((states, table, of_logits, precision), loss)
                    }
                    OpsKind::UnTracked(prepared) => prepared.finish(loss),
                };
            Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
        }
        _ => None,
    }
}

/// The loss, and its gradient with respect to the logits.
fn forward(
    states: &FlexTensor,
    table: &FlexTensor,
    bias: &FlexTensor,
    targets: &[u32],
    scale: f64,
    precision: Precision,
) -> (f32, Vec<f32>) {
    let table = contiguous(table);
    let [entries, hidden] = table.shape().dims::<2>();
    let tokens = targets.len();
    let transposed = Matrix::rows(values(&table), hidden).transposed();
    let states = Matrix::rows(values(states), hidden);
    let sizes = [tokens, hidden, entries];
    // SAFETY: the slices have exactly these sizes, and the product writes every element.
    let mut logits = unsafe {
        written(tokens * entries, |out| {
            product(precision, sizes, states, transposed, Target::rows(out, entries), true);
        })
    };
    let losses: Vec<f64> = logits
        .par_chunks_mut(entries.max(1))
        .zip(targets)
        .map(|(logits, target)| {
            f64::from(softmax(logits, values(bias), *target as usize, scale as f32)) * scale
        })
        .collect();
    (losses.iter().sum::<f64>() as f32, logits)
}

vectorised! {
    /// Adds the bias to the logits and overwrites them with the gradient. Returns `-ln p(target)`.
    fn softmax(logits: &mut [f32], bias: &[f32], target: usize, scale: f32) -> f32 {
        let mut highest = [f32::NEG_INFINITY; LANES];
        for (logits, bias) in logits.chunks_mut(LANES).zip(bias.chunks(LANES)) {
            for ((logit, bias), highest) in logits.iter_mut().zip(bias).zip(&mut highest) {
                *logit += bias;
                *highest = if *logit > *highest { *logit } else { *highest };
            }
        }
        let highest = highest.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let of_target = logits[target] - highest;
        for logit in logits.iter_mut() {
            *logit = exp(*logit - highest);
        }
        let sum = sum_of([&*logits], |[value]| value);
        let factor = scale / sum;
        for logit in logits.iter_mut() {
            *logit *= factor;
        }
        logits[target] -= scale;
        sum.ln() - of_target
    }
}

/// States, table, and the gradient with respect to the logits.
type SavedForBackward = (FlexTensor, FlexTensor, FlexTensor, Precision);

#[derive(Debug)]
struct CrossEntropy;

impl Backward<Flex, 3> for CrossEntropy {
    type State = SavedForBackward;

    fn backward(self, ops: Ops<SavedForBackward, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (states, table, of_logits, precision) = ops.state;
        let table = contiguous(&table);
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let scale = values(&gradient)[0];
        let [entries, hidden] = table.shape().dims::<2>();
        let tokens = of_logits.shape().dims::<2>()[0];
        let [states_node, table_node, bias_node] = ops.parents;
        let of_logits = values(&of_logits);
        if let Some(node) = states_node {
            let (left, right) =
                (Matrix::rows(of_logits, entries), Matrix::rows(values(&table), hidden));
            let sizes = [tokens, entries, hidden];
            // SAFETY: the slices have exactly these sizes, and the product writes every element.
            let result = unsafe {
                written(tokens * hidden, |out| {
                    let target = Target::rows(out, hidden).scaled(scale);
                    product(precision, sizes, left, right, target, true);
                })
            };
            grads.register::<Flex>(node.id, tensor(result, [tokens, hidden]));
        }
        if let Some(node) = table_node {
            let left = Matrix::rows(of_logits, entries).transposed();
            let right = Matrix::rows(values(&states), hidden);
            let sizes = [entries, tokens, hidden];
            // SAFETY: the slices have exactly these sizes, and the product writes every element.
            let result = unsafe {
                written(entries * hidden, |out| {
                    let target = Target::rows(out, hidden).scaled(scale);
                    product(precision, sizes, left, right, target, true);
                })
            };
            grads.register::<Flex>(node.id, tensor(result, [entries, hidden]));
        }
        if let Some(node) = bias_node {
            let mut result = column_sums(of_logits, entries);
            result.iter_mut().for_each(|value| *value *= scale);
            grads.register::<Flex>(node.id, tensor(result, [entries]));
        }
    }
}

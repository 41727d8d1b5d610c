//! Scaled dot-product attention (Vaswani et al. 2017), read directly from the layout of the
//! projections. One task per example and head computes scores, bias, softmax, dropout and the
//! weighted sum while the scores are in the cache. The probabilities are saved for the backward
//! pass; the dropout mask is recomputed.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::exact::exact;
use super::matrix::{Matrix, SharedPointer, Target};
use super::vector::{exp, sum_of, vectorised};
use super::{Backing, backing, contiguous, tensor, values};
use crate::model::noise::Mask;
use crate::model::precision::Precision;

/// The inputs of attention besides its tensors.
#[derive(Clone, Debug)]
pub struct AttentionOptions {
    pub heads: usize,
    /// Added to the scores, `[rows, keys]`: 0 for a token, a large negative number for padding.
    pub padding: Option<Vec<f32>>,
    /// Dropout of the probabilities.
    pub mask: Option<Mask>,
    /// On a GPU, the extent of each row between its padding.
    #[cfg(feature = "device")]
    pub spans: Option<crate::model::device::section::Section>,
    pub precision: Precision,
}

/// The sizes of one call.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    rows: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    hidden: usize,
    /// Features per head.
    size: usize,
}

impl Sizes {
    fn new(query: &FlexTensor, key: &FlexTensor, heads: usize) -> Sizes {
        let [rows, queries, hidden] = query.shape().dims::<3>();
        let [_, keys, _] = key.shape().dims::<3>();
        Sizes { rows, heads, queries, keys, hidden, size: hidden / heads.max(1) }
    }

    fn scale(self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    /// Elements of one head's score matrix.
    fn scores(self) -> usize {
        self.queries * self.keys
    }

    /// The offset of a head of an example in `[rows, tokens, hidden]`.
    fn start(self, row: usize, head: usize, tokens: usize) -> usize {
        row * tokens * self.hidden + head * self.size
    }

    /// A head of an example as a matrix `[tokens, size]`.
    fn head(self, of: &[f32], row: usize, head: usize, tokens: usize) -> Matrix {
        Matrix::rows(&of[self.start(row, head, tokens)..], self.hidden)
    }
}

/// Attention; `None` if the tensors are not on the CPU. `relative` is added to the scores.
///
/// # Shapes
///
/// `query` is `[rows, queries, hidden]`, `key` and `value` are `[rows, keys, hidden]`, `relative`
/// is `[1, heads, keys, keys]`. The result is `[rows, queries, hidden]`.
pub fn attention(
    query: &Tensor<3>,
    key: &Tensor<3>,
    value: &Tensor<3>,
    relative: Option<&Tensor<4>>,
    options: AttentionOptions,
) -> Option<Tensor<3>> {
    match (backing(query), backing(key), backing(value)) {
        (Backing::Plain(query), Backing::Plain(key), Backing::Plain(value)) => {
            let relative = match relative.map(backing) {
                None => None,
                Some(Backing::Plain(relative)) => Some(contiguous(&relative)),
                Some(_) => return None,
            };
            let inputs = [contiguous(&query), contiguous(&key), contiguous(&value)];
            let (output, _) = forward(&inputs, relative.as_ref(), &options);
            Some(Tensor::from_primitive::<Flex>(output))
        }
        (Backing::Recorded(query), Backing::Recorded(key), Backing::Recorded(value)) => {
            let (query, query_node) = query.into_parts();
            let (key, key_node) = key.into_parts();
            let (value, value_node) = value.into_parts();
            let inputs = [contiguous(&query), contiguous(&key), contiguous(&value)];
            let nodes = [query_node, key_node, value_node];
            let output = match relative.map(backing) {
                None => {
                    let (output, probabilities) = forward(&inputs, None, &options);
                    match Attention.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
                        OpsKind::Tracked(prepared) => {
                            prepared.finish((inputs, probabilities, options), output)
                        }
                        OpsKind::UnTracked(prepared) => prepared.finish(output),
                    }
                }
                Some(Backing::Recorded(relative)) => {
                    let (relative, relative_node) = relative.into_parts();
                    let relative = contiguous(&relative);
                    let (output, probabilities) = forward(&inputs, Some(&relative), &options);
                    let [query, key, value] = nodes;
                    let nodes = [query, key, value, relative_node];
                    let operation = AttentionWithRelativeBias;
                    match operation.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
                        OpsKind::Tracked(prepared) => {
                            prepared.finish((inputs, probabilities, options), output)
                        }
                        OpsKind::UnTracked(prepared) => prepared.finish(output),
                    }
                }
                Some(_) => return None,
            };
            Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
        }
        _ => None,
    }
}

/// The output and the probabilities `[rows, heads, queries, keys]` before dropout.
fn forward(
    [query, key, value]: &[FlexTensor; 3],
    relative: Option<&FlexTensor>,
    options: &AttentionOptions,
) -> (FlexTensor, FlexTensor) {
    let sizes = Sizes::new(query, key, options.heads);
    let Sizes { rows, heads, queries, keys, hidden, size } = sizes;
    let mut probabilities = vec![0.0; rows * heads * sizes.scores()];
    let mut output = vec![0.0; rows * queries * hidden];
    let shared = SharedPointer::new(&mut output);
    let (query, key, value) = (values(query), values(key), values(value));
    probabilities.par_chunks_mut(sizes.scores().max(1)).enumerate().for_each(|(task, scores)| {
        let (row, head) = (task / heads, task % heads);
        let query = sizes.head(query, row, head, queries);
        let key = sizes.head(key, row, head, keys).transposed();
        // SAFETY: each head lies within its tensor, and only this task accesses `scores`.
        unsafe {
            let target = Target::rows(SharedPointer::new(scores), keys).scaled(sizes.scale());
            small([queries, size, keys], query, key, target);
        }
        let padding = options.padding.as_ref().map(|all| &all[row * keys..(row + 1) * keys]);
        for (index, scores) in scores.chunks_mut(keys).enumerate() {
            if let Some(relative) = relative {
                let start = (head * keys + index) * keys;
                add(scores, &values(relative)[start..start + keys]);
            }
            if let Some(padding) = padding {
                add(scores, padding);
            }
            softmax(scores);
        }
        let mut dropped = Vec::new();
        let weights = match &options.mask {
            Some(mask) => {
                dropped.extend_from_slice(scores);
                mask.apply_to_scores(row, head, queries, &mut dropped);
                &dropped[..]
            }
            None => scores,
        };
        let (weights, value) = (Matrix::rows(weights, keys), sizes.head(value, row, head, keys));
        // SAFETY: only this task writes the columns of this head in the rows of this example.
        unsafe {
            let target = Target::rows(shared.from(sizes.start(row, head, queries)), hidden);
            small([queries, keys, size], weights, value, target);
        }
    });
    (tensor(output, [rows, queries, hidden]), tensor(probabilities, [rows, heads, queries, keys]))
}

/// A product within one head, computed by one task, always in f32.
///
/// # Safety
///
/// As for [`exact`].
unsafe fn small(sizes: [usize; 3], left: Matrix, right: Matrix, target: Target) {
    // SAFETY: the caller guarantees what `exact` requires.
    unsafe { exact(sizes, left, right, target, false) };
}

fn add(scores: &mut [f32], other: &[f32]) {
    for (score, other) in scores.iter_mut().zip(other) {
        *score += other;
    }
}

vectorised! {
    fn softmax(scores: &mut [f32]) {
        let highest = scores.iter().fold(f32::NEG_INFINITY, |highest, score| highest.max(*score));
        for score in scores.iter_mut() {
            *score = exp(*score - highest);
        }
        let whole = 1.0 / sum_of([&*scores], |[value]| value);
        for score in scores.iter_mut() {
            *score *= whole;
        }
    }
}

vectorised! {
    /// Overwrites the gradient of the probabilities with the gradient of the scores.
    fn softmax_backward(gradient: &mut [f32], probabilities: &[f32]) {
        let along = sum_of([&*gradient, probabilities], |[left, right]| left * right);
        for (gradient, probability) in gradient.iter_mut().zip(probabilities) {
            *gradient = probability * (*gradient - along);
        }
    }
}

/// Query, key and value; the probabilities before dropout; the options.
type SavedForBackward = ([FlexTensor; 3], FlexTensor, AttentionOptions);

#[derive(Debug)]
struct Attention;

impl Backward<Flex, 3> for Attention {
    type State = SavedForBackward;

    fn backward(self, ops: Ops<SavedForBackward, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let (found, _) = backward(&ops.state, &gradient, false);
        for (node, gradient) in ops.parents.into_iter().zip(found) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct AttentionWithRelativeBias;

impl Backward<Flex, 4> for AttentionWithRelativeBias {
    type State = SavedForBackward;

    fn backward(self, ops: Ops<SavedForBackward, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let (found, of_relative) = backward(&ops.state, &gradient, true);
        let found = found.into_iter().map(Some).chain([of_relative]);
        for (node, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// The gradients of query, key and value, and with `with_relative` that of the relative bias.
fn backward(
    ([query, key, value], probabilities, options): &SavedForBackward,
    gradient: &FlexTensor,
    with_relative: bool,
) -> ([FlexTensor; 3], Option<FlexTensor>) {
    let sizes = Sizes::new(query, key, options.heads);
    let Sizes { rows, heads, queries, keys, hidden, size } = sizes;
    let mut of_query = vec![0.0; rows * queries * hidden];
    let mut of_key = vec![0.0; rows * keys * hidden];
    let mut of_value = vec![0.0; rows * keys * hidden];
    let mut of_scores = vec![0.0; if with_relative { rows * heads * sizes.scores() } else { 0 }];
    let (query, key, value) = (values(query), values(key), values(value));
    let (gradient, probabilities) = (values(gradient), values(probabilities));
    let shared = [&mut of_query, &mut of_key, &mut of_value].map(|all| SharedPointer::new(all));
    let [to_query, to_key, to_value] = shared;
    let to_scores = SharedPointer::new(&mut of_scores);
    (0..rows * heads).into_par_iter().for_each(|task| {
        let (row, head) = (task / heads, task % heads);
        let kept = &probabilities[task * sizes.scores()..(task + 1) * sizes.scores()];
        let of_output = sizes.head(gradient, row, head, queries);
        let mut dropped = kept.to_vec();
        let mut of_probabilities = vec![0.0; sizes.scores()];
        if let Some(mask) = &options.mask {
            mask.apply_to_scores(row, head, queries, &mut dropped);
        }
        let transposed = Matrix::rows(&dropped, keys).transposed();
        let values_of_head = sizes.head(value, row, head, keys).transposed();
        // SAFETY: each head lies within its tensor. Only this task writes the columns of this head
        // in the rows of this example; the other matrices are local.
        unsafe {
            let target = Target::rows(to_value.from(sizes.start(row, head, keys)), hidden);
            small([keys, queries, size], transposed, of_output, target);
            let target = Target::rows(SharedPointer::new(&mut of_probabilities), keys);
            small([queries, size, keys], of_output, values_of_head, target);
        }
        if let Some(mask) = &options.mask {
            mask.apply_to_scores(row, head, queries, &mut of_probabilities);
        }
        for (gradient, kept) in of_probabilities.chunks_mut(keys).zip(kept.chunks(keys)) {
            softmax_backward(gradient, kept);
        }
        let of_scores = Matrix::rows(&of_probabilities, keys);
        let (key, query) =
            (sizes.head(key, row, head, keys), sizes.head(query, row, head, queries));
        let scaled = |out| Target::rows(out, hidden).scaled(sizes.scale());
        // SAFETY: as above; in addition, only this task writes its scores.
        unsafe {
            let target = scaled(to_query.from(sizes.start(row, head, queries)));
            small([queries, keys, size], of_scores, key, target);
            let target = scaled(to_key.from(sizes.start(row, head, keys)));
            small([keys, queries, size], of_scores.transposed(), query, target);
            if with_relative {
                let to = to_scores.from(task * sizes.scores()).pointer(sizes.scores());
                std::ptr::copy_nonoverlapping(of_probabilities.as_ptr(), to, sizes.scores());
            }
        }
    });
    let of_relative = with_relative.then(|| sum_over_rows(&of_scores, sizes));
    let result = [
        tensor(of_query, [rows, queries, hidden]),
        tensor(of_key, [rows, keys, hidden]),
        tensor(of_value, [rows, keys, hidden]),
    ];
    (result, of_relative)
}

/// Sums `[rows, heads, queries, keys]` over the rows to `[1, heads, keys, keys]`. Tokens without a
/// query get zeros, because the loss does not depend on them.
fn sum_over_rows(of_scores: &[f32], sizes: Sizes) -> FlexTensor {
    let Sizes { heads, keys, .. } = sizes;
    let mut total = vec![0.0; heads * keys * keys];
    for row in of_scores.chunks((heads * sizes.scores()).max(1)) {
        for (head, scores) in row.chunks(sizes.scores().max(1)).enumerate() {
            add(&mut total[head * keys * keys..][..sizes.scores()], scores);
        }
    }
    tensor(total, [1, heads, keys, keys])
}

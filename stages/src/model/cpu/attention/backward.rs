//! The backward pass of attention.

use burn::backend::flex::FlexTensor;
use rayon::prelude::*;

use super::heads::{Head, Place, Projected, Turned};
use super::saved::Saved;
use super::sizes::{Block, Sizes, add, small};
use crate::model::cpu::matrix::{Matrix, SharedPointer, Target};
use crate::model::cpu::vector::{sum_of, vectorised};
use crate::model::cpu::{tensor, values};

/// Examples whose contributions to the gradient of the positions are summed by one task.
const GROUP: usize = 4;

/// The gradients of a call's inputs, in their order.
pub(super) fn backward(saved: &Saved, gradient: &FlexTensor) -> Vec<FlexTensor> {
    let sizes = saved.sizes();
    let Sizes { rows, heads, queries, keys, hidden, .. } = sizes;
    let mut found = match &saved.projected {
        Projected::Apart(_) => {
            [queries, keys, keys].map(|tokens| vec![0.0; rows * tokens * hidden]).to_vec()
        }
        Projected::Joint(_) => vec![vec![0.0; rows * keys * 3 * hidden]],
    };
    let is_joint = found.len() == 1;
    let shared: Vec<SharedPointer> = found.iter_mut().map(|all| SharedPointer::new(all)).collect();
    let to = [0, 1, 2].map(|which| shared[if is_joint { 0 } else { which }]);
    let mut of_bias = vec![0.0; saved.bias.iter().len() * rows * heads * sizes.scores()];
    let to_bias = SharedPointer::new(&mut of_bias);
    let group = if saved.positions.is_some() { GROUP } else { 1 };
    let distances = (2 * keys).saturating_sub(1) * hidden;
    let groups = rows.div_ceil(group);
    let mut of_positions = vec![0.0; 2 * saved.positions.iter().len() * groups * distances];
    let to_positions = SharedPointer::new(&mut of_positions);
    (0..groups * heads).into_par_iter().for_each(|task| {
        let (first, head) = (task / heads, task % heads);
        for row in first * group..rows.min((first + 1) * group) {
            let gradients = Gradients {
                to: [0, 1, 2].map(|which| {
                    let place = Place::of(sizes, is_joint, which);
                    Target::rows(to[which].from(place.start(sizes, row, head)), place.stride)
                }),
                bias: saved
                    .bias
                    .as_ref()
                    .map(|_| to_bias.from((row * heads + head) * sizes.scores())),
                positions: saved.positions.as_ref().map(|_| {
                    [0, 1].map(|which| to_positions.from((2 * first + which) * distances))
                }),
            };
            let of_output = &values(gradient)[row * queries * hidden + head * sizes.size..];
            let of_output = Matrix::rows(of_output, hidden);
            let kept = saved.probabilities.as_ref().map(|all| {
                let start = (row * heads + head) * sizes.scores();
                &values(all)[start..start + sizes.scores()]
            });
            let mut turned = Turned::default();
            let mut head = saved.head(sizes, row, head);
            head.turn(&mut turned);
            // SAFETY: only this task writes the gradients of this head of this example, and those
            // of the positions of its group and head.
            unsafe { head.backward(of_output, kept, &gradients) };
        }
    });
    let shapes = match is_joint {
        true => vec![[rows, keys, 3 * hidden]],
        false => [queries, keys, keys].map(|tokens| [rows, tokens, hidden]).to_vec(),
    };
    let mut result: Vec<FlexTensor> =
        found.into_iter().zip(shapes).map(|(found, shape)| tensor(found, shape)).collect();
    if saved.bias.is_some() {
        result.push(sum_over_rows(&of_bias, sizes));
    }
    if saved.positions.is_some() {
        for which in 0..2 {
            let mut total = vec![0.0; distances];
            let parts = of_positions.chunks(distances).skip(which).step_by(2);
            parts.for_each(|part| add(&mut total, part));
            result.push(tensor(total, [2 * keys - 1, hidden]));
        }
    }
    result
}

/// Where the gradients of one head of one example go.
struct Gradients {
    /// Of query, key and value.
    to: [Target; 3],
    bias: Option<SharedPointer>,
    /// Of the positions as keys and as queries, of all heads.
    positions: Option<[SharedPointer; 2]>,
}

impl Head<'_> {
    /// # Safety
    ///
    /// Nobody else uses this head's part of `gradients`.
    unsafe fn backward(&self, of_output: Matrix, kept: Option<&[f32]>, gradients: &Gradients) {
        let Sizes { queries, keys, size, .. } = self.sizes;
        let [to_query, to_key, to_value] = gradients.to;
        // Gradients of turned queries and keys, to be turned back.
        let rotation = self.options.rotation.as_ref();
        let local = |tokens| vec![0.0; if rotation.is_some() { tokens * size } else { 0 }];
        let (mut of_query, mut of_key) = (local(queries), local(keys));
        let (query_target, key_target) = match rotation {
            Some(_) => (
                Target::rows(SharedPointer::new(&mut of_query), size),
                Target::rows(SharedPointer::new(&mut of_key), size),
            ),
            None => (to_query, to_key),
        };
        let mut scratch = Vec::new();
        for block in self.sizes.blocks(self.options.window) {
            let probabilities = match kept {
                Some(kept) => kept,
                None => {
                    scratch.resize(block.queries * block.keys, 0.0);
                    self.probabilities(block, &mut scratch);
                    &scratch
                }
            };
            // SAFETY: the caller guarantees it; the local buffers are of this task.
            unsafe {
                let targets = [query_target, key_target, to_value];
                self.backward_of_block(block, of_output, probabilities, targets, gradients);
            }
        }
        let Some(rotation) = rotation else { return };
        for (found, target) in [(&mut of_query, to_query), (&mut of_key, to_key)] {
            rotation.turn(found, true);
            for (token, found) in found.chunks(size).enumerate() {
                // SAFETY: only this task writes the features of this head.
                unsafe {
                    let to = target.from(token, 0).pointer(1, size);
                    std::ptr::copy_nonoverlapping(found.as_ptr(), to, size);
                }
            }
        }
    }

    /// # Safety
    ///
    /// As for [`Self::backward`].
    unsafe fn backward_of_block(
        &self,
        block: Block,
        of_output: Matrix,
        probabilities: &[f32],
        targets: [Target; 3],
        gradients: &Gradients,
    ) {
        let Block { first_query, queries, first_key, keys } = block;
        let size = self.sizes.size;
        let is_whole = keys == self.sizes.keys && queries == self.sizes.queries;
        // A key is seen from several blocks.
        let summed = |target: Target| if is_whole { target } else { target.accumulating() };
        let of_output = of_output.rows_from(first_query);
        let mut dropped = probabilities.to_vec();
        self.drop_out(block, &mut dropped);
        let mut of_scores = vec![0.0; queries * keys];
        let [to_query, to_key, to_value] = targets;
        let (to_query, to_key) = (to_query.from(first_query, 0), to_key.from(first_key, 0));
        // SAFETY: the block lies within the head. The caller guarantees that nobody else writes its
        // gradients; the other matrices are local.
        unsafe {
            let transposed = Matrix::rows(&dropped, keys).transposed();
            small(
                [keys, queries, size],
                transposed,
                of_output,
                summed(to_value.from(first_key, 0)),
            );
            let target = Target::rows(SharedPointer::new(&mut of_scores), keys);
            let value = self.value.rows_from(first_key).transposed();
            small([queries, size, keys], of_output, value, target);
        }
        self.drop_out(block, &mut of_scores);
        for (gradient, kept) in of_scores.chunks_mut(keys).zip(probabilities.chunks(keys)) {
            softmax_backward(gradient, kept);
        }
        let matrix = Matrix::rows(&of_scores, keys);
        let (query, key) = (self.query.rows_from(first_query), self.key.rows_from(first_key));
        let scaled = |target: Target| target.scaled(self.options.scale);
        // SAFETY: as above.
        unsafe {
            small([queries, keys, size], matrix, key, scaled(to_query));
            small([keys, queries, size], matrix.transposed(), query, summed(scaled(to_key)));
            if let Some(to) = gradients.bias {
                for (query, of_scores) in of_scores.chunks(keys).enumerate() {
                    let start = (first_query + query) * self.sizes.keys + first_key;
                    let to = to.from(start).pointer(keys);
                    std::ptr::copy_nonoverlapping(of_scores.as_ptr(), to, keys);
                }
            }
            if let (Some(products), Some(to)) = (&self.products, gradients.positions) {
                products.add_backward(&self.contents(), block, &of_scores, [to_query, to_key], to);
            }
        }
    }
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

vectorised! {
    /// Overwrites the gradient of the probabilities with the gradient of the scores.
    fn softmax_backward(gradient: &mut [f32], probabilities: &[f32]) {
        let along = sum_of([&*gradient, probabilities], |[left, right]| left * right);
        for (gradient, probability) in gradient.iter_mut().zip(probabilities) {
            *gradient = probability * (*gradient - along);
        }
    }
}

//! Scaled dot-product attention (Vaswani et al. 2017), read directly from the layout of the
//! projections. One task per example and head computes scores, biases, softmax, dropout and the
//! weighted sum while the scores are in the cache. Up to 512 tokens the probabilities are saved for
//! the backward pass; for longer ones they are computed again. So is the dropout mask.

mod backward;
mod heads;
mod options;
mod products;
mod saved;
mod sizes;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::matrix::{Matrix, SharedPointer, Target};
use super::{Backing, Tracked, are_rows_apart, backing, contiguous, tensor};
use heads::{Projected, Turned};
use saved::Saved;
use sizes::{Sizes, small};

pub use options::{AttentionOptions, Rotation};

/// What is added to the scores besides padding.
#[derive(Clone, Debug)]
pub enum Relative {
    Absent,
    /// `[1, heads, keys, keys]`
    Bias(Box<Tensor<4>>),
    /// The products of contents and positions. Positions as keys and as queries,
    /// `[2 · keys - 1, hidden]`, where row `k - q + keys - 1` is key `k` seen from query `q`.
    Products(Box<[Tensor<2>; 2]>),
}

/// Attention; `None` if the tensors are not on the CPU.
///
/// # Shapes
///
/// `query` is `[rows, queries, hidden]`, `key` and `value` are `[rows, keys, hidden]`. The result is
/// `[rows, queries, hidden]`.
pub fn attention(
    [query, key, value]: [&Tensor<3>; 3],
    relative: &Relative,
    options: AttentionOptions,
) -> Option<Tensor<3>> {
    let queries = query.dims()[1];
    let projections = [backing(query), backing(key), backing(value)];
    match relative {
        Relative::Absent => run(projections, |[query, key, value]| {
            Saved::apart([query, key, value], queries, options)
        }),
        Relative::Bias(bias) => {
            let [query, key, value] = projections;
            run([query, key, value, backing(bias)], |[query, key, value, bias]| Saved {
                bias: Some(bias),
                ..Saved::apart([query, key, value], queries, options)
            })
        }
        Relative::Products(positions) => {
            let [keys, queries_of] = &**positions;
            let ([query, key, value], [first, second]) =
                (projections, [backing(keys), backing(queries_of)]);
            run([query, key, value, first, second], |[query, key, value, keys, of_queries]| Saved {
                positions: Some([keys, of_queries]),
                ..Saved::apart([query, key, value], queries, options)
            })
        }
    }
}

/// Attention of the first `queries` tokens to all, whose queries, keys and values are side by side;
/// `None` if they are not on the CPU.
///
/// # Shapes
///
/// `[rows, keys, 3 · hidden]` to `[rows, queries, hidden]`.
pub fn joint_attention(
    projected: &Tensor<3>,
    queries: usize,
    options: AttentionOptions,
) -> Option<Tensor<3>> {
    run([backing(projected)], |[projected]| Saved {
        projected: Projected::Joint(projected),
        bias: None,
        positions: None,
        queries,
        probabilities: None,
        options,
    })
}

/// Runs forward, and registers the backward pass if autodiff tracks the inputs.
fn run<const N: usize>(
    inputs: [Backing; N],
    saved: impl FnOnce([FlexTensor; N]) -> Saved,
) -> Option<Tensor<3>> {
    let mut plain: Vec<FlexTensor> = Vec::with_capacity(N);
    let mut recorded: Vec<Tracked> = Vec::with_capacity(N);
    for input in inputs {
        match input {
            Backing::Plain(input) => plain.push(contiguous(&input)),
            Backing::Recorded(input) => recorded.push(input),
            Backing::Elsewhere => return None,
        }
    }
    if let Ok(inputs) = <[FlexTensor; N]>::try_from(plain) {
        return Some(Tensor::from_primitive::<Flex>(saved(inputs).forward(false).0));
    }
    let (inputs, nodes): (Vec<_>, Vec<_>) = recorded
        .into_iter()
        .map(|input| {
            let (input, node) = input.into_parts();
            (contiguous(&input), node)
        })
        .unzip();
    let inputs = <[FlexTensor; N]>::try_from(inputs).ok()?;
    let nodes = <[_; N]>::try_from(nodes).ok()?;
    let mut saved = saved(inputs);
    let output = match Attention.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, probabilities) = saved.forward(true);
            saved.probabilities = probabilities;
            prepared.finish(saved, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(saved.forward(false).0),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
}

impl Saved {
    /// The output, and the probabilities `[rows, heads, queries, keys]` before dropout if they are
    /// to be kept.
    fn forward(&self, keep: bool) -> (FlexTensor, Option<FlexTensor>) {
        let sizes = self.sizes();
        let Sizes { rows, heads, queries, keys, hidden, size } = sizes;
        let keep = keep && sizes.keeps();
        // Saved probabilities have the padding in them.
        let lengths = self.lengths(sizes).filter(|_| are_rows_apart() && !keep);
        let mut probabilities = vec![0.0; if keep { rows * heads * sizes.scores() } else { 0 }];
        let kept = SharedPointer::new(&mut probabilities);
        let mut output = vec![0.0; rows * queries * hidden];
        let shared = SharedPointer::new(&mut output);
        (0..rows * heads).into_par_iter().for_each(|task| {
            let (row, head_index) = (task / heads, task % heads);
            let mut turned = Turned::default();
            let mut head = self.head(sizes, row, head_index);
            head.turn(&mut turned);
            let (mut scratch, mut dropped) = (Vec::new(), Vec::new());
            let own = match &lengths {
                Some(lengths) => sizes.without_padding(lengths[row]),
                None => sizes,
            };
            for block in own.blocks(self.options.window) {
                let count = block.queries * block.keys;
                let scores = match keep {
                    // SAFETY: only this task accesses these probabilities.
                    true => unsafe {
                        let start = kept.from(task * sizes.scores());
                        std::slice::from_raw_parts_mut(start.pointer(count), count)
                    },
                    false => {
                        scratch.resize(count, 0.0);
                        &mut scratch[..]
                    }
                };
                head.probabilities(block, scores);
                let weights = match self.options.mask {
                    Some(_) => {
                        dropped.clear();
                        dropped.extend_from_slice(scores);
                        head.drop_out(block, &mut dropped);
                        &dropped[..]
                    }
                    None => scores,
                };
                let weights = Matrix::rows(weights, block.keys);
                let value = head.value.rows_from(block.first_key);
                let start = (row * queries + block.first_query) * hidden + head_index * size;
                // SAFETY: the head lies within its tensor, and only this task writes its columns in
                // the rows of this example.
                unsafe {
                    let target = Target::rows(shared.from(start), hidden);
                    small([block.queries, block.keys, size], weights, value, target);
                }
            }
        });
        let shape = [rows, heads, queries, keys];
        let probabilities = keep.then(|| tensor(probabilities, shape));
        (tensor(output, [rows, queries, hidden]), probabilities)
    }
}

#[derive(Debug)]
struct Attention;

impl<const N: usize> Backward<Flex, N> for Attention {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = contiguous(&grads.consume::<Flex>(&ops.node));
        let found = backward::backward(&ops.state, &gradient);
        for (node, gradient) in ops.parents.into_iter().zip(found) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

//! The products of content and position in disentangled attention (He et al. 2021, equation 4).
//!
//! The rows of the projected positions are ordered by distance: row `k - q + keys - 1` is that of
//! key `k` seen from query `q`. So the scores of one query read a stretch of the product of queries
//! and positions.

use burn::backend::flex::FlexTensor;

use super::sizes::{Block, Sizes, small};
use crate::model::cpu::matrix::{Matrix, SharedPointer, Target};
use crate::model::cpu::values;

/// Positions as keys and as queries, `[2 · keys - 1, hidden]`.
#[derive(Clone, Copy)]
pub(super) struct Products<'a> {
    pub(super) keys: &'a FlexTensor,
    pub(super) queries: &'a FlexTensor,
}

/// The queries and keys of a head of one example.
pub(super) struct Contents {
    pub(super) sizes: Sizes,
    /// Scores are multiplied by it.
    pub(super) scale: f32,
    pub(super) head: usize,
    pub(super) query: Matrix,
    pub(super) key: Matrix,
}

/// The distances between the queries and the keys of a block.
#[derive(Clone, Copy)]
struct Distances {
    first: usize,
    count: usize,
}

impl Distances {
    fn of(sizes: Sizes, block: Block) -> Distances {
        let last_query = block.first_query + block.queries - 1;
        let first = block.first_key + sizes.keys - 1 - last_query;
        Distances { first, count: block.keys + block.queries - 1 }
    }
}

impl<'a> Products<'a> {
    /// The positions of a block for one head, `[distances, size]`.
    fn head(of: &FlexTensor, sizes: Sizes, head: usize, first: usize) -> Matrix {
        Matrix::rows(&values(of)[first * sizes.hidden + head * sizes.size..], sizes.hidden)
    }

    /// Adds to the scores of a block.
    pub(super) fn add(&self, of: &Contents, block: Block, scores: &mut [f32]) {
        let (sizes, Block { first_query, queries, first_key, keys }) = (of.sizes, block);
        let Distances { first, count } = Distances::of(sizes, block);
        let of_queries = of.query.rows_from(first_query);
        let of_keys = of.key.rows_from(first_key);
        let mut by_query = vec![0.0; queries * count];
        let mut by_key = vec![0.0; keys * count];
        let to =
            |values: &mut [f32]| Target::rows(SharedPointer::new(values), count).scaled(of.scale);
        // SAFETY: all matrices are within their tensors, and the results are local.
        unsafe {
            let right = Self::head(self.keys, sizes, of.head, first).transposed();
            small([queries, sizes.size, count], of_queries, right, to(&mut by_query));
            let right = Self::head(self.queries, sizes, of.head, first).transposed();
            small([keys, sizes.size, count], of_keys, right, to(&mut by_key));
        }
        for (query, scores) in scores.chunks_mut(keys).enumerate() {
            // The distance of the block's first key.
            let start = queries - 1 - query;
            let along = &by_query[query * count + start..][..keys];
            let across = by_key[start..].iter().step_by(count + 1);
            for ((score, along), across) in scores.iter_mut().zip(along).zip(across) {
                *score += along + across;
            }
        }
    }

    /// Adds what the gradient `of_scores` of a block contributes: to those of queries and keys at
    /// `to_query` and `to_key`, and to those of the positions at `to_positions`, as keys and as
    /// queries.
    ///
    /// # Safety
    ///
    /// Nobody else uses this head's part of the four targets.
    pub(super) unsafe fn add_backward(
        &self,
        of: &Contents,
        block: Block,
        of_scores: &[f32],
        [to_query, to_key]: [Target; 2],
        to_positions: [SharedPointer; 2],
    ) {
        let (sizes, Block { first_query, queries, first_key, keys }) = (of.sizes, block);
        let Distances { first, count } = Distances::of(sizes, block);
        let mut by_query = vec![0.0; queries * count];
        let mut by_key = vec![0.0; keys * count];
        for (query, of_scores) in of_scores.chunks(keys).enumerate() {
            let start = queries - 1 - query;
            by_query[query * count + start..][..keys].copy_from_slice(of_scores);
            let across = by_key[start..].iter_mut().step_by(count + 1);
            across.zip(of_scores).for_each(|(to, of_score)| *to = *of_score);
        }
        let scaled = |target: Target| target.scaled(of.scale).accumulating();
        let [to_keys, to_queries] = to_positions.map(|to| {
            let start = first * sizes.hidden + of.head * sizes.size;
            scaled(Target::rows(to.from(start), sizes.hidden))
        });
        let (by_query, by_key) = (Matrix::rows(&by_query, count), Matrix::rows(&by_key, count));
        let (of_queries, of_keys) = (of.query.rows_from(first_query), of.key.rows_from(first_key));
        let size = sizes.size;
        // SAFETY: the caller guarantees that the targets are not shared; the rest is as in `add`.
        unsafe {
            let right = Self::head(self.keys, sizes, of.head, first);
            small([queries, count, size], by_query, right, scaled(to_query));
            small([count, queries, size], by_query.transposed(), of_queries, to_keys);
            let right = Self::head(self.queries, sizes, of.head, first);
            small([keys, count, size], by_key, right, scaled(to_key));
            small([count, keys, size], by_key.transposed(), of_keys, to_queries);
        }
    }
}

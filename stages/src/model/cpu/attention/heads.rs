//! One head of one example: where its queries, keys and values lie, and its scores.

use burn::backend::flex::FlexTensor;

use super::options::AttentionOptions;
use super::products::{Contents, Products};
use super::sizes::{Block, Sizes, add, small};
use crate::model::cpu::matrix::{Matrix, SharedPointer, Target};
use crate::model::cpu::values;
use crate::model::cpu::vector::{exp, sum_of, vectorised};

/// Hides a key from a query.
const HIDDEN: f32 = -1e30;

/// Tensors of queries, keys and values: apart, `[rows, queries, hidden]` and twice
/// `[rows, keys, hidden]`; or side by side in one, `[rows, keys, 3 · hidden]`.
#[derive(Clone, Debug)]
pub(super) enum Projected {
    Apart(Box<[FlexTensor; 3]>),
    Joint(FlexTensor),
}

impl Projected {
    /// Query (0), key (1) or value (2) of a head of an example, `[tokens, size]`.
    pub(super) fn head(&self, sizes: Sizes, which: usize, row: usize, head: usize) -> Matrix {
        let place = Place::of(sizes, matches!(self, Projected::Joint(_)), which);
        let tensor = match self {
            Projected::Apart(all) => &all[which],
            Projected::Joint(all) => all,
        };
        Matrix::rows(&values(tensor)[place.start(sizes, row, head)..], place.stride)
    }
}

/// Where the query, key or value of every head lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) stride: usize,
    tokens: usize,
    offset: usize,
}

impl Place {
    pub(super) fn of(sizes: Sizes, is_joint: bool, which: usize) -> Place {
        let Sizes { queries, keys, hidden, .. } = sizes;
        match is_joint {
            true => Place { stride: 3 * hidden, tokens: keys, offset: which * hidden },
            false => {
                let tokens = if which == 0 { queries } else { keys };
                Place { stride: hidden, tokens, offset: 0 }
            }
        }
    }

    /// The offset of a head of an example.
    pub(super) fn start(self, sizes: Sizes, row: usize, head: usize) -> usize {
        row * self.tokens * self.stride + self.offset + head * sizes.size
    }
}

/// A head of one example, with its queries and keys as they are multiplied.
pub(super) struct Head<'a> {
    pub(super) sizes: Sizes,
    pub(super) options: &'a AttentionOptions,
    pub(super) row: usize,
    pub(super) head: usize,
    /// `[1, heads, keys, keys]`
    pub(super) bias: Option<&'a [f32]>,
    pub(super) products: Option<Products<'a>>,
    pub(super) query: Matrix,
    pub(super) key: Matrix,
    pub(super) value: Matrix,
}

/// Copies of a head's queries and keys that have been turned by their positions.
#[derive(Default)]
pub(super) struct Turned {
    query: Vec<f32>,
    key: Vec<f32>,
}

impl Head<'_> {
    /// Replaces queries and keys by turned copies in `turned`, if positions rotate.
    pub(super) fn turn(&mut self, turned: &mut Turned) {
        let Some(rotation) = &self.options.rotation else { return };
        let Sizes { queries, keys, size, .. } = self.sizes;
        for (matrix, tokens, copy) in
            [(&mut self.query, queries, &mut turned.query), (&mut self.key, keys, &mut turned.key)]
        {
            copy.clear();
            for token in 0..tokens {
                // SAFETY: the head lies within its tensor, and nobody writes to that.
                let row = unsafe {
                    std::slice::from_raw_parts(matrix.rows_from(token).pointer(1, size), size)
                };
                copy.extend_from_slice(row);
            }
            rotation.turn(copy, false);
            *matrix = Matrix::rows(copy, size);
        }
    }

    /// The probabilities of a block before dropout, in `scores`, `[queries, keys]` of the block.
    pub(super) fn probabilities(&self, block: Block, scores: &mut [f32]) {
        let Block { first_query, queries, first_key, keys } = block;
        let Sizes { size, keys: all_keys, .. } = self.sizes;
        let query = self.query.rows_from(first_query);
        let key = self.key.rows_from(first_key).transposed();
        // SAFETY: the block lies within the head, and only this task accesses `scores`.
        unsafe {
            let target = Target::rows(SharedPointer::new(scores), keys).scaled(self.options.scale);
            small([queries, size, keys], query, key, target);
        }
        if let Some(products) = &self.products {
            products.add(&self.contents(), block, scores);
        }
        let padding = self.options.padding.as_ref();
        let padding = padding.map(|all| &all[self.row * all_keys + first_key..][..keys]);
        for (index, scores) in scores.chunks_mut(keys).enumerate() {
            let query = first_query + index;
            if let Some(bias) = self.bias {
                let start = (self.head * all_keys + query) * all_keys + first_key;
                add(scores, &bias[start..start + keys]);
            }
            if let Some(padding) = padding {
                add(scores, padding);
            }
            if let Some(window) = self.options.window {
                let seen = query.saturating_sub(window).max(first_key) - first_key;
                let end = (query + window + 1).min(first_key + keys) - first_key;
                scores[..seen].fill(HIDDEN);
                scores[end..].fill(HIDDEN);
            }
            softmax(scores);
        }
    }

    pub(super) fn contents(&self) -> Contents {
        let (sizes, scale, head) = (self.sizes, self.options.scale, self.head);
        Contents { sizes, scale, head, query: self.query, key: self.key }
    }

    /// Multiplies a block by the dropout mask.
    pub(super) fn drop_out(&self, block: Block, values: &mut [f32]) {
        if let Some(mask) = &self.options.mask {
            let first = (block.first_query, block.first_key);
            mask.apply_to_block(self.row, self.head, first, block.keys, values);
        }
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

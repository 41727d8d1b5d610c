//! The sizes of a call, and the blocks in which a head is computed.

use crate::model::cpu::exact::exact;
use crate::model::cpu::matrix::{Matrix, Target};

/// Longer sequences are computed in blocks of queries, whose probabilities are not kept.
const LONG: usize = 512;
const BLOCK: usize = 64;

/// The sizes of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) heads: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) hidden: usize,
    /// Features per head.
    pub(super) size: usize,
}

/// Some queries, and the keys that they may see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) first_query: usize,
    pub(super) queries: usize,
    pub(super) first_key: usize,
    pub(super) keys: usize,
}

impl Sizes {
    /// Elements of one head's score matrix.
    pub(super) fn scores(self) -> usize {
        self.queries * self.keys
    }

    /// Whether the probabilities are kept for the backward pass.
    pub(super) fn keeps(self) -> bool {
        self.keys <= LONG
    }

    /// The same for a row with only so many tokens.
    pub(super) fn without_padding(self, tokens: usize) -> Sizes {
        Sizes { queries: self.queries.min(tokens), keys: self.keys.min(tokens), ..self }
    }

    /// All queries and keys if the probabilities are kept, else blocks with the keys within the
    /// window.
    pub(super) fn blocks(self, window: Option<usize>) -> impl Iterator<Item = Block> {
        let (step, reach) = match self.keeps() {
            true => (self.queries.max(1), self.keys),
            false => (BLOCK, window.unwrap_or(self.keys)),
        };
        (0..self.queries).step_by(step).map(move |first_query| {
            let queries = step.min(self.queries - first_query);
            let first_key = first_query.saturating_sub(reach);
            let end = self.keys.min(first_query + queries + reach);
            Block { first_query, queries, first_key, keys: end - first_key }
        })
    }
}

/// A product within one head, computed by one task, always in f32.
///
/// # Safety
///
/// As for [`exact`].
pub(super) unsafe fn small(sizes: [usize; 3], left: Matrix, right: Matrix, target: Target) {
    // SAFETY: the caller guarantees what `exact` requires.
    unsafe { exact(sizes, left, right, target, false) };
}

pub(super) fn add(scores: &mut [f32], other: &[f32]) {
    for (score, other) in scores.iter_mut().zip(other) {
        *score += other;
    }
}

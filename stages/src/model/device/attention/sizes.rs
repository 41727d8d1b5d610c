//! The sizes of attention, on the host and in the kernels.

use cubecl::prelude::*;

/// Queries (or keys) per cube.
pub(super) const BLOCK: usize = 16;
/// Units for each of them.
pub(super) const BESIDE: usize = 8;
pub(super) const UNITS: u32 = (BLOCK * BESIDE) as u32;

#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) rows: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) heads: usize,
    /// Features per head.
    pub(super) size: usize,
    /// Features from one token to the next.
    pub(super) query_stride: usize,
    pub(super) key_stride: usize,
}

impl Sizes {
    pub(super) fn hidden(self) -> usize {
        self.heads * self.size
    }

    /// The features of the values follow those of the keys, and those follow the queries'.
    pub(super) fn value_start(self) -> usize {
        self.key_stride - self.hidden()
    }

    pub(super) fn key_start(self) -> usize {
        self.value_start() - self.hidden()
    }

    /// Whether queries, keys and values are in one tensor.
    pub(super) fn is_joint(self) -> bool {
        self.query_stride > self.hidden()
    }

    /// Cubes for blocks of `tokens`, heads and rows, each along an axis of its own: no unit has to divide,
    /// nor to keep what it finds.
    pub(super) fn cubes(self, tokens: usize) -> CubeCount {
        CubeCount::Static(tokens.div_ceil(BLOCK) as u32, self.heads as u32, self.rows as u32)
    }

    /// Keys (or queries) per step of a cube's loop: fewer for wide heads, to fit in shared memory.
    pub(super) fn step(self) -> usize {
        if self.size <= 64 { 4 * BESIDE } else { BESIDE }
    }

    pub(super) fn args(self, first_span: u32, window: Option<usize>) -> SizesArgsLaunch {
        SizesArgsLaunch::new(
            self.rows as u32,
            self.queries as u32,
            self.keys as u32,
            self.heads as u32,
            self.query_stride as u32,
            self.key_stride as u32,
            self.key_start() as u32,
            self.value_start() as u32,
            first_span,
            window.unwrap_or_default() as u32,
            1.0 / (self.size as f32).sqrt(),
        )
    }
}

/// The numbers of one launch.
#[derive(CubeLaunch, CubeType)]
pub(super) struct SizesArgs {
    pub(super) rows: u32,
    pub(super) queries: u32,
    pub(super) keys: u32,
    pub(super) heads: u32,
    pub(super) query_stride: u32,
    pub(super) key_stride: u32,
    pub(super) key_start: u32,
    pub(super) value_start: u32,
    /// Where the spans start.
    pub(super) first_span: u32,
    /// The distance up to which tokens see each other, if that is limited.
    pub(super) window: u32,
    /// The factor of the scores.
    pub(super) scale: f32,
}

/// What is the same for all cells at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) size: usize,
    pub(super) step: usize,
    pub(super) drops: bool,
    pub(super) has_biases: bool,
    pub(super) is_relative: bool,
    pub(super) is_local: bool,
}

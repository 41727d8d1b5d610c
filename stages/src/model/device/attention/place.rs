//! Where a cube's tokens and their features are.

use cubecl::prelude::*;

use super::sizes::{BLOCK, SizesArgs};

/// The block of queries (or keys) that a cube computes.
#[derive(CubeType)]
pub(super) struct Place {
    pub(super) row: usize,
    pub(super) head: usize,
    /// The first query (or key) of the block.
    pub(super) start: usize,
}

#[cube]
impl Place {
    /// The number of the block among those of all rows, if there are `tokens` in a row.
    pub(super) fn block(&self, tokens: u32) -> usize {
        self.row * tokens.div_ceil(BLOCK as u32) as usize + self.start / BLOCK
    }
}

/// The place of this cube in the grid of [`Sizes::cubes`](super::sizes::Sizes::cubes).
#[cube]
pub(super) fn place() -> Place {
    let (row, head) = (CUBE_POS_Z as usize, CUBE_POS_Y as usize);
    Place { row, head, start: CUBE_POS_X as usize * BLOCK }
}

/// Where the tokens of a tensor are: features from one to the next, and to the first head.
#[derive(CubeType)]
pub(super) struct Layout {
    pub(super) tokens: usize,
    pub(super) stride: usize,
    pub(super) start: usize,
}

#[cube]
impl Layout {
    pub(super) fn of_query(sizes: &SizesArgs) -> Layout {
        Layout {
            tokens: sizes.queries as usize,
            stride: sizes.query_stride as usize,
            start: 0usize.runtime(),
        }
    }

    pub(super) fn of_key(sizes: &SizesArgs) -> Layout {
        Layout {
            tokens: sizes.keys as usize,
            stride: sizes.key_stride as usize,
            start: sizes.key_start as usize,
        }
    }

    pub(super) fn of_value(sizes: &SizesArgs) -> Layout {
        Layout {
            tokens: sizes.keys as usize,
            stride: sizes.key_stride as usize,
            start: sizes.value_start as usize,
        }
    }

    /// Of the result and its gradient.
    pub(super) fn of_output(sizes: &SizesArgs, #[comptime] size: usize) -> Layout {
        Layout {
            tokens: sizes.queries as usize,
            stride: sizes.heads as usize * size,
            start: 0usize.runtime(),
        }
    }

    /// The index of the first feature of a head of a token.
    pub(super) fn at(
        &self,
        row: usize,
        token: usize,
        head: usize,
        #[comptime] size: usize,
    ) -> usize {
        (row * self.tokens + token) * self.stride + self.start + head * size
    }
}

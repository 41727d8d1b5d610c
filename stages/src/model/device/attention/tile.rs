//! What the kernels of attention share.

use cubecl::prelude::*;

use super::{BESIDE, BLOCK, SizesArgs, UNITS};
use crate::model::device::noise::{MaskArgs, mask_element};

/// The block of queries (or keys) that a cube computes.
#[derive(CubeType)]
pub(super) struct Place {
    pub(super) row: usize,
    pub(super) head: usize,
    /// The first query (or key) of the block.
    pub(super) start: usize,
}

/// The place of this cube, if there are `tokens` in a row.
#[cube]
pub(super) fn place(tokens: u32, heads: u32) -> Place {
    let blocks = tokens.div_ceil(BLOCK as u32);
    let cube = CUBE_POS as u32;
    let start = cube % blocks * BLOCK as u32;
    let head = cube / blocks % heads;
    let row = cube / blocks / heads;
    Place { row: row as usize, head: head as usize, start: start as usize }
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

/// Copies a head of the tokens from `start` on into a tile, plus the bias, and zeros where there
/// are fewer tokens. The lines of the tile are `stride` long.
#[cube]
#[expect(clippy::too_many_arguments, reason = "a copy has two ends")]
pub(super) fn load_head(
    from: &[f32],
    bias: &[f32],
    layout: &Layout,
    row: usize,
    head: usize,
    start: usize,
    tile: &mut Shared<[f32]>,
    #[comptime] lines: usize,
    #[comptime] size: usize,
    #[comptime] stride: usize,
    #[comptime] adds_bias: bool,
) {
    let mut cell = UNIT_POS as usize;
    while cell < comptime!(lines * size) {
        let line = cell / size;
        let feature = cell % size;
        let token = start + line;
        let mut value = 0.0f32;
        if token < layout.tokens {
            value = from[layout.at(row, token, head, size) + feature];
            if comptime!(adds_bias) {
                value += bias[head * size + feature];
            }
        }
        tile[line * stride + feature] = value;
        cell += UNITS as usize;
    }
}

/// The product of a line of each tile.
#[cube]
pub(super) fn dot(
    left: &Shared<[f32]>,
    left_start: usize,
    right: &Shared<[f32]>,
    right_start: usize,
    #[comptime] size: usize,
) -> f32 {
    let mut sum = 0.0f32;
    for feature in 0..size {
        sum += left[left_start + feature] * right[right_start + feature];
    }
    sum
}

/// Element `query`, `key` of the dropout mask of a head of a row.
#[cube]
pub(super) fn dropped(
    keys: &[u32],
    mask: &MaskArgs,
    row: usize,
    head: usize,
    query: usize,
    key: usize,
) -> f32 {
    // As `Mask::apply_to_scores` addresses it.
    mask_element(keys, mask, row, (head * 4096 + query) * 4096 + key)
}

/// The relative bias of a pair of tokens.
#[cube]
pub(super) fn relative_of(
    relative: &[f32],
    sizes: &SizesArgs,
    head: usize,
    query: usize,
    key: usize,
) -> f32 {
    let keys = sizes.keys as usize;
    relative[(head * keys + query) * keys + key]
}

/// The query (or key) of this unit within its block, and its number among the units of it.
#[cube]
pub(super) fn own() -> (usize, usize) {
    (UNIT_POS as usize / BESIDE, UNIT_POS as usize % BESIDE)
}

/// The first token of a row, and the end of its tokens.
#[cube]
pub(super) fn span(spans: &[u32], sizes: &SizesArgs, row: usize) -> (usize, usize) {
    let at = sizes.first_span as usize + 2 * row;
    (spans[at] as usize, spans[at + 1] as usize)
}

//! What the kernels of attention read, and where.

use cubecl::prelude::*;

use super::sizes::{BLOCK, Kind, SizesArgs};
use super::tile::{Tile, TileShape, add_bias, load_head};
use crate::model::device::noise::{MaskArgs, mask_element};

/// What every kernel reads.
#[derive(CubeLaunch, CubeType)]
pub(super) struct Source {
    query: Box<[f32]>,
    key: Box<[f32]>,
    value: Box<[f32]>,
    query_bias: Box<[f32]>,
    key_bias: Box<[f32]>,
    value_bias: Box<[f32]>,
    relative: Box<[f32]>,
    spans: Box<[u32]>,
    mask_keys: Box<[u32]>,
    pub(super) sizes: SizesArgs,
    mask: MaskArgs,
}

#[cube]
impl Source {
    /// Copies the queries from `start` on into a tile, plus their bias.
    pub(super) fn load_query(
        &self,
        at: &Place,
        start: usize,
        tile: &mut Tile,
        #[comptime] shape: TileShape,
    ) {
        let layout = Layout::of_query(&self.sizes);
        load_head(&self.query, &layout, at, start, tile, shape);
        add_bias(&self.query_bias, at, tile, shape);
    }

    /// The same for the keys.
    pub(super) fn load_key(
        &self,
        at: &Place,
        start: usize,
        tile: &mut Tile,
        #[comptime] shape: TileShape,
    ) {
        load_head(&self.key, &Layout::of_key(&self.sizes), at, start, tile, shape);
        add_bias(&self.key_bias, at, tile, shape);
    }

    /// The same for the values.
    pub(super) fn load_value(
        &self,
        at: &Place,
        start: usize,
        tile: &mut Tile,
        #[comptime] shape: TileShape,
    ) {
        load_head(&self.value, &Layout::of_value(&self.sizes), at, start, tile, shape);
        add_bias(&self.value_bias, at, tile, shape);
    }

    /// The score of a pair of tokens, given the product of their query and key.
    pub(super) fn score(
        &self,
        product: f32,
        at: &Place,
        query: usize,
        key: usize,
        #[comptime] kind: Kind,
    ) -> f32 {
        let mut score = product * self.sizes.scale;
        if comptime!(kind.is_relative) {
            let keys = self.sizes.keys as usize;
            score += self.relative[(at.head * keys + query) * keys + key];
        }
        score
    }

    /// The factor of dropout on the probability of a pair of tokens.
    pub(super) fn dropout(
        &self,
        at: &Place,
        query: usize,
        key: usize,
        #[comptime] kind: Kind,
    ) -> f32 {
        let mut factor = 1.0f32;
        if comptime!(kind.drops) {
            // As `Mask::apply_to_block` addresses it.
            let index = (at.head * 4096 + query) * 4096 + key;
            factor = mask_element(&self.mask_keys, &self.mask, at.row, index);
        }
        factor
    }

    /// The first token of a row, and the end of its tokens.
    pub(super) fn span(&self, row: usize) -> (usize, usize) {
        let at = self.sizes.first_span as usize + 2 * row;
        (self.spans[at] as usize, self.spans[at + 1] as usize)
    }

    /// The index of a query in `[rows, heads, queries]`.
    pub(super) fn cell(&self, at: &Place, query: usize) -> usize {
        (at.row * self.sizes.heads as usize + at.head) * self.sizes.queries as usize + query
    }
}

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

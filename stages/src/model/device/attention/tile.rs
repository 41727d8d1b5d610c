//! What the kernels of attention share: what they read, and the tiles in which they compute.

use cubecl::prelude::*;

use super::sizes::{BESIDE, BLOCK, Kind, SizesArgs, UNITS};
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
        tile: &mut Shared<[f32]>,
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
        tile: &mut Shared<[f32]>,
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
        tile: &mut Shared<[f32]>,
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

/// The lines of a tile, the features of each, and how far apart they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TileShape {
    pub(super) lines: usize,
    pub(super) size: usize,
    pub(super) stride: usize,
}

impl TileShape {
    /// Of the tokens that belong to the cube.
    pub(super) fn own(kind: Kind) -> TileShape {
        TileShape { lines: BLOCK, size: kind.size, stride: kind.size }
    }

    /// Of the tokens that it loops over, padded so that units read different banks of the memory.
    pub(super) fn other(kind: Kind) -> TileShape {
        TileShape { lines: kind.step, size: kind.size, stride: kind.size + 1 }
    }

    pub(super) fn count(self) -> usize {
        self.lines * self.stride
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

/// Copies a head of the tokens from `start` on into a tile, and zeros where there are fewer.
#[cube]
pub(super) fn load_head(
    from: &[f32],
    layout: &Layout,
    at: &Place,
    start: usize,
    tile: &mut Shared<[f32]>,
    #[comptime] shape: TileShape,
) {
    let mut cell = UNIT_POS as usize;
    while cell < comptime!(shape.lines * shape.size) {
        let line = cell / shape.size;
        let feature = cell % shape.size;
        let token = start + line;
        let mut value = 0.0f32;
        if token < layout.tokens {
            value = from[layout.at(at.row, token, at.head, shape.size) + feature];
        }
        tile[line * shape.stride + feature] = value;
        cell += UNITS as usize;
    }
}

/// Adds a bias to the lines of a tile, each unit to the elements that it has loaded.
#[cube]
fn add_bias(bias: &[f32], at: &Place, tile: &mut Shared<[f32]>, #[comptime] shape: TileShape) {
    let mut cell = UNIT_POS as usize;
    while cell < comptime!(shape.lines * shape.size) {
        let line = cell / shape.size;
        let feature = cell % shape.size;
        tile[line * shape.stride + feature] =
            tile[line * shape.stride + feature] + bias[at.head * shape.size + feature];
        cell += UNITS as usize;
    }
}

/// Multiplies the sums of this unit's features by `factor` and adds the lines of `others`, each
/// times the unit's number of it in `numbers`, `[BLOCK, step]`.
#[cube]
pub(super) fn add_products(
    sums: &mut Array<f32>,
    factor: f32,
    numbers: &Shared<[f32]>,
    others: &Shared<[f32]>,
    #[comptime] shape: TileShape,
) {
    let (line, unit) = own();
    #[unroll]
    for nth in 0..comptime!(shape.size.div_ceil(BESIDE)) {
        let feature = nth * BESIDE + unit;
        if feature < shape.size {
            let mut sum = sums[nth] * factor;
            for within in 0..shape.lines {
                sum +=
                    numbers[line * shape.lines + within] * others[within * shape.stride + feature];
            }
            sums[nth] = sum;
        }
    }
}

/// Writes the sum of the [`BLOCK`] lines of a tile to `sums` from `start` on.
#[cube]
pub(super) fn sum_of_lines(
    tile: &Shared<[f32]>,
    sums: &mut [f32],
    start: usize,
    #[comptime] size: usize,
) {
    let feature = UNIT_POS as usize;
    if feature < size {
        let mut sum = 0.0f32;
        for line in 0..BLOCK {
            sum += tile[line * size + feature];
        }
        sums[start + feature] = sum;
    }
}

/// The product of a line of a tile and one of another.
#[cube]
pub(super) fn dot(
    left: &Shared<[f32]>,
    left_line: usize,
    #[comptime] left_shape: TileShape,
    right: &Shared<[f32]>,
    right_line: usize,
    #[comptime] right_shape: TileShape,
) -> f32 {
    let mut sum = 0.0f32;
    for feature in 0..left_shape.size {
        sum += left[left_line * left_shape.stride + feature]
            * right[right_line * right_shape.stride + feature];
    }
    sum
}

/// The query (or key) of this unit within its block, and its number among the units of it.
#[cube]
pub(super) fn own() -> (usize, usize) {
    (UNIT_POS as usize / BESIDE, UNIT_POS as usize % BESIDE)
}

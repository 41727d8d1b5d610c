//! What the kernels of attention read.

use cubecl::prelude::*;

use super::place::{Layout, Place};
use super::sizes::{BLOCK, Kind, SizesArgs};
use super::tile::{Tile, TileShape, add_bias, load_head};
use crate::model::device::noise::{MaskArgs, RowKeys};

/// What every kernel reads.
#[derive(CubeLaunch, CubeType)]
pub(super) struct Source<N: Size> {
    query: Box<[Vector<f32, N>]>,
    key: Box<[Vector<f32, N>]>,
    value: Box<[Vector<f32, N>]>,
    query_bias: Box<[Vector<f32, N>]>,
    key_bias: Box<[Vector<f32, N>]>,
    value_bias: Box<[Vector<f32, N>]>,
    relative: Box<[f32]>,
    spans: Box<[u32]>,
    mask_keys: Box<[u32]>,
    pub(super) sizes: SizesArgs,
    mask: MaskArgs,
}

#[cube]
impl<N: Size> Source<N> {
    /// Copies the queries from `start` on into a tile, plus their bias if they have one.
    pub(super) fn load_query(
        &self,
        at: &Place,
        start: usize,
        tile: &mut Tile,
        #[comptime] shape: TileShape,
        #[comptime] kind: Kind,
    ) {
        let layout = Layout::of_query(&self.sizes);
        load_head(&self.query, &layout, at, start, tile, shape);
        if comptime!(kind.has_biases) {
            add_bias(&self.query_bias, at, tile, shape);
        }
    }

    /// The same for the keys.
    pub(super) fn load_key(
        &self,
        at: &Place,
        start: usize,
        tile: &mut Tile,
        #[comptime] shape: TileShape,
        #[comptime] kind: Kind,
    ) {
        load_head(&self.key, &Layout::of_key(&self.sizes), at, start, tile, shape);
        if comptime!(kind.has_biases) {
            add_bias(&self.key_bias, at, tile, shape);
        }
    }

    /// The same for the values.
    pub(super) fn load_value(
        &self,
        at: &Place,
        start: usize,
        tile: &mut Tile,
        #[comptime] shape: TileShape,
        #[comptime] kind: Kind,
    ) {
        load_head(&self.value, &Layout::of_value(&self.sizes), at, start, tile, shape);
        if comptime!(kind.has_biases) {
            add_bias(&self.value_bias, at, tile, shape);
        }
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

    /// The keys of the dropout of a row.
    pub(super) fn keys_of_row(&self, row: usize, #[comptime] kind: Kind) -> RowKeys {
        self.mask.of_row(&self.mask_keys, row, kind.drops)
    }

    /// The factor of dropout on the probability of a pair of tokens.
    pub(super) fn dropout(
        &self,
        keys: &RowKeys,
        at: &Place,
        query: usize,
        key: usize,
        #[comptime] kind: Kind,
    ) -> f32 {
        let mut factor = 1.0f32;
        if comptime!(kind.drops) {
            factor = self.mask.of_pair(keys, at.head, query, key);
        }
        factor
    }

    /// The first token of a row, and the end of its tokens.
    pub(super) fn span(&self, row: usize) -> (usize, usize) {
        let at = self.sizes.first_span as usize + 2 * row;
        (self.spans[at] as usize, self.spans[at + 1] as usize)
    }

    /// The first key that a query of a block may see, and the end of those keys.
    pub(super) fn span_of_block(&self, at: &Place, #[comptime] kind: Kind) -> (usize, usize) {
        let (mut begin, mut end) = self.span(at.row);
        if comptime!(kind.is_local) {
            let (first, after) = self.near_block(at);
            begin = max(begin, first);
            end = min(end, after);
        }
        (begin, end)
    }

    /// The first query that may see a key of a block, and the end of those queries.
    pub(super) fn queries_of_block(&self, at: &Place, #[comptime] kind: Kind) -> (usize, usize) {
        let (mut first, mut end) = (0usize.runtime(), self.sizes.queries as usize);
        if comptime!(kind.is_local) {
            let (near, after) = self.near_block(at);
            first = near;
            end = min(end, after);
        }
        (first, end)
    }

    /// The first token within the window of one of a block, and the end of those tokens.
    pub(super) fn near_block(&self, at: &Place) -> (usize, usize) {
        let window = self.sizes.window as usize;
        (at.start - min(at.start, window), at.start + BLOCK + window)
    }

    /// Whether two tokens are within the window of each other.
    pub(super) fn are_near(&self, query: usize, key: usize, #[comptime] kind: Kind) -> bool {
        let mut are_near = true.runtime();
        if comptime!(kind.is_local) {
            let window = self.sizes.window as usize;
            are_near = key + window >= query && key <= query + window;
        }
        are_near
    }

    /// The index of a query in `[rows, heads, queries]`.
    pub(super) fn cell(&self, at: &Place, query: usize) -> usize {
        (at.row * self.sizes.heads as usize + at.head) * self.sizes.queries as usize + query
    }
}

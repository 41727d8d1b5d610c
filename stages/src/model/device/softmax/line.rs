//! One line of scores: those of a query and a head.

use cubecl::prelude::*;

use crate::model::device::UNITS;
use crate::model::device::noise::{MaskArgs, RowKeys};

/// What is the same for all lines at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    /// Units for each line.
    pub(super) beside: usize,
    /// The number of tensors that are added.
    pub(super) added: usize,
    pub(super) drops: bool,
    pub(super) is_local: bool,
}

/// The numbers of one launch.
#[derive(CubeLaunch, CubeType)]
pub(super) struct SizesArgs {
    lines: u32,
    heads: u32,
    queries: u32,
    pub(super) keys: u32,
    window: u32,
    /// Where the spans start.
    first_span: u32,
    /// The factor of the scores.
    pub(super) scale: f32,
}

/// What the kernels read. `bias` and `across` are any tensors if there are none.
#[derive(CubeLaunch, CubeType)]
pub(super) struct Source {
    products: Box<[f32]>,
    /// Added to the products: a bias, or the products by distance along a query's keys.
    bias: Box<[f32]>,
    /// Those across: of the keys with positions as queries.
    across: Box<[f32]>,
    spans: Box<[u32]>,
    mask_keys: Box<[u32]>,
    pub(super) sizes: SizesArgs,
    mask: MaskArgs,
}

/// A line, and this unit within it.
#[derive(CubeType)]
pub(super) struct Line {
    /// Whether there is such a line; otherwise the unit only takes part in sums.
    pub(super) is_real: bool,
    /// Among the lines of all rows and heads.
    pub(super) number: usize,
    row: usize,
    head: usize,
    query: usize,
    /// Of the row's dropout.
    keys: RowKeys,
    /// The first token that the query sees, and the end of those that it sees; nothing if the line is not real.
    begin: usize,
    pub(super) end: usize,
    pub(super) unit: usize,
}

#[cube]
impl Line {
    /// The first key of this unit.
    pub(super) fn first_key(&self, #[comptime] kind: Kind) -> usize {
        // Keys go to the same units everywhere.
        self.begin / kind.beside * kind.beside + self.unit
    }

    pub(super) fn sees(&self, key: usize) -> bool {
        key >= self.begin && key < self.end
    }
}

#[cube]
impl Source {
    /// The line of this unit.
    pub(super) fn line(&self, #[comptime] kind: Kind) -> Line {
        let of_cube = comptime!(UNITS as usize / kind.beside);
        let number = CUBE_POS * of_cube + UNIT_POS as usize / kind.beside;
        let unit = UNIT_POS as usize % kind.beside;
        let is_real = number < self.sizes.lines as usize;
        let (queries, heads) = (self.sizes.queries as usize, self.sizes.heads as usize);
        let row = number / queries / heads;
        let (mut begin, mut end) = (0usize.runtime(), 0usize.runtime());
        if is_real {
            let at = self.sizes.first_span as usize + 2 * row;
            begin = self.spans[at] as usize;
            end = self.spans[at + 1] as usize;
        }
        let (head, query) = (number / queries % heads, number % queries);
        if comptime!(kind.is_local) {
            let window = self.sizes.window as usize;
            begin = max(begin, query - min(query, window));
            end = min(end, query + window + 1);
        }
        // There may be no such row.
        let keys = self.mask.of_row(&self.mask_keys, select(is_real, row, 0usize), kind.drops);
        Line { is_real, number, row, head, query, keys, begin, end, unit }
    }

    pub(super) fn score(&self, line: &Line, key: usize, #[comptime] kind: Kind) -> f32 {
        let keys = self.sizes.keys as usize;
        let mut score = self.products[line.number * keys + key];
        if comptime!(kind.added == 2) {
            let distances = 2 * keys - 1;
            let distance = key + keys - 1 - line.query;
            let of_key = (line.row * self.sizes.heads as usize + line.head) * keys + key;
            score += self.bias[line.number * distances + distance]
                + self.across[of_key * distances + distance];
        }
        score *= self.sizes.scale;
        if comptime!(kind.added == 1) {
            let of_query = line.head * self.sizes.queries as usize + line.query;
            score += self.bias[of_query * keys + key];
        }
        score
    }

    /// The factor of dropout on a probability.
    pub(super) fn dropout(&self, line: &Line, key: usize, #[comptime] kind: Kind) -> f32 {
        let mut factor = 1.0f32;
        if comptime!(kind.drops) {
            factor = self.mask.of_pair(&line.keys, line.head, line.query, key);
        }
        factor
    }
}

//! The tiles in which the kernels of attention compute.

use cubecl::prelude::*;

use super::place::{Layout, Place};
use super::sizes::{BESIDE, BLOCK, Kind, UNITS};

/// Features that a unit reads from shared memory at once, as many as one access has.
pub(super) type Four = Vector<f32, Const<4>>;
pub(super) const TOGETHER: usize = 4;

/// The elements that one access to the device's memory reads or writes, for heads of `size` features: as
/// many of four as divide it, since every head starts at a multiple of it.
pub(super) fn access(size: usize) -> usize {
    [4, 2].into_iter().find(|access| size.is_multiple_of(*access)).unwrap_or(1)
}

/// Lines of features, in shared memory.
pub(super) type Tile = Shared<[Four]>;

/// The lines of a tile and the features of each. A feature beyond them is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TileShape {
    pub(super) lines: usize,
    pub(super) size: usize,
}

impl TileShape {
    /// Of the tokens that belong to the cube.
    pub(super) fn own(kind: Kind) -> TileShape {
        TileShape { lines: BLOCK, size: kind.size }
    }

    /// Of the tokens that it loops over.
    pub(super) fn other(kind: Kind) -> TileShape {
        TileShape { lines: kind.step, size: kind.size }
    }

    /// The [`Four`]s of a line.
    pub(super) fn fours(self) -> usize {
        self.size.div_ceil(TOGETHER)
    }

    /// From one line to the next: an odd number, so that units that read neighbouring lines use
    /// different banks of the memory.
    pub(super) fn stride(self) -> usize {
        self.fours() | 1
    }

    pub(super) fn count(self) -> usize {
        self.lines * self.stride()
    }

    /// The [`Four`]s of a line that belong to a unit.
    pub(super) fn of_unit(self) -> usize {
        self.fours().div_ceil(BESIDE)
    }
}

/// Copies a head of the tokens from `start` on into a tile, and zeros where there are fewer.
#[cube]
pub(super) fn load_head<N: Size>(
    from: &[Vector<f32, N>],
    layout: &Layout,
    at: &Place,
    start: usize,
    tile: &mut Tile,
    #[comptime] shape: TileShape,
) {
    let mut cell = UNIT_POS as usize;
    while cell < comptime!(shape.lines * shape.fours()) {
        let line = cell / comptime!(shape.fours());
        let four = cell % comptime!(shape.fours());
        let token = start + line;
        let mut values = Four::new(0.0f32);
        if token < layout.tokens {
            let first = layout.at(at.row, token, at.head, shape.size) + four * TOGETHER;
            values = four_of(from, first, four, shape);
        }
        tile[line * comptime!(shape.stride()) + four] = values;
        cell += UNITS as usize;
    }
}

/// Adds a bias to the lines of a tile, each unit to the elements that it has loaded.
#[cube]
pub(super) fn add_bias<N: Size>(
    bias: &[Vector<f32, N>],
    at: &Place,
    tile: &mut Tile,
    #[comptime] shape: TileShape,
) {
    let mut cell = UNIT_POS as usize;
    while cell < comptime!(shape.lines * shape.fours()) {
        let line = cell / comptime!(shape.fours());
        let four = cell % comptime!(shape.fours());
        let place = line * comptime!(shape.stride()) + four;
        let first = at.head * shape.size + four * TOGETHER;
        tile[place] += four_of(bias, first, four, shape);
        cell += UNITS as usize;
    }
}

/// The elements from `first` on, as the `four`th of a line.
#[cube]
pub(super) fn four_of<F: Float, N: Size>(
    from: &[Vector<F, N>],
    first: usize,
    four: usize,
    #[comptime] shape: TileShape,
) -> Four {
    let access = N::value().comptime();
    let mut values = Four::new(0.0f32);
    #[unroll]
    for nth in 0..comptime!(TOGETHER / access) {
        if four * TOGETHER + nth * access < shape.size {
            let read = from[first / access + nth];
            #[unroll]
            for within in 0..access {
                values
                    .insert(comptime!(nth * access + within), f32::cast_from(read.extract(within)));
            }
        }
    }
    values
}

/// The products of a line of a tile and lines of another: `unit`, `unit + BESIDE` and so on, of
/// which only those before `end` are wanted.
#[cube]
pub(super) fn dots(
    products: &mut Array<f32>,
    left: &Tile,
    right: &Tile,
    end: usize,
    #[comptime] shape: TileShape,
) {
    let (line, unit) = own();
    let stride = comptime!(shape.stride());
    #[unroll]
    for nth in 0..comptime!(shape.lines / BESIDE) {
        products[nth] = 0.0f32;
    }
    for four in 0..comptime!(shape.fours()) {
        let one = left[line * stride + four];
        #[unroll]
        for nth in 0..comptime!(shape.lines / BESIDE) {
            // The same for all units.
            if nth * BESIDE < end {
                let other = right[(nth * BESIDE + unit) * stride + four];
                #[unroll]
                for feature in 0..TOGETHER {
                    products[nth] += one.extract(feature) * other.extract(feature);
                }
            }
        }
    }
}

/// Multiplies the sums of this unit's features by `factor` and adds the lines of `others` before
/// `end`, each times the unit's number of it in `numbers`.
#[cube]
pub(super) fn add_products(
    sums: &mut Array<Four>,
    factor: f32,
    numbers: &Shared<[f32]>,
    others: &Tile,
    end: usize,
    #[comptime] shape: TileShape,
) {
    let (line, unit) = own();
    #[unroll]
    for nth in 0..comptime!(shape.of_unit()) {
        sums[nth] *= Four::new(factor);
    }
    for within in 0..min(end, comptime!(shape.lines).runtime()) {
        let number = Four::new(numbers[number_at(line, within, shape.lines)]);
        #[unroll]
        for nth in 0..comptime!(shape.of_unit()) {
            let four = nth * BESIDE + unit;
            if four < comptime!(shape.fours()) {
                sums[nth] += number * others[within * comptime!(shape.stride()) + four];
            }
        }
    }
}

/// The elements of a tile of numbers for each pair of lines. From one line to the next it is so far that the
/// units of four lines, which write at the same time, use different banks of the memory.
pub(super) fn numbers(step: usize) -> usize {
    BLOCK * (step + BESIDE)
}

/// The index in it.
#[cube]
pub(super) fn number_at(line: usize, within: usize, #[comptime] step: usize) -> usize {
    line * comptime!(step + BESIDE) + within
}

/// Zeros for the features of a unit.
#[cube]
pub(super) fn zeros(#[comptime] shape: TileShape) -> Array<Four> {
    let mut sums = Array::<Four>::new(comptime!(shape.of_unit()));
    #[unroll]
    for nth in 0..comptime!(shape.of_unit()) {
        sums[nth] = Four::new(0.0f32);
    }
    sums
}

/// Writes the features of this unit, times `scale`, to the token `at.start + line` of a tensor, if it has
/// that many.
#[cube]
pub(super) fn write<F: Float, N: Size>(
    sums: &Array<Four>,
    scale: f32,
    at: &Place,
    layout: &Layout,
    tensor: &mut [Vector<F, N>],
    #[comptime] shape: TileShape,
) {
    let (line, unit) = own();
    let token = at.start + line;
    let start = layout.at(at.row, token, at.head, shape.size);
    #[unroll]
    for nth in 0..comptime!(shape.of_unit()) {
        let four = nth * BESIDE + unit;
        if four < comptime!(shape.fours()) && token < layout.tokens {
            let values = sums[nth] * Four::new(scale);
            store(values, tensor, start + four * TOGETHER, four, shape);
        }
    }
}

/// Puts the features of this unit, times `scale`, into a tile.
#[cube]
pub(super) fn keep(sums: &Array<Four>, scale: f32, tile: &mut Tile, #[comptime] shape: TileShape) {
    let (line, unit) = own();
    #[unroll]
    for nth in 0..comptime!(shape.of_unit()) {
        let four = nth * BESIDE + unit;
        if four < comptime!(shape.fours()) {
            tile[line * comptime!(shape.stride()) + four] = sums[nth] * Four::new(scale);
        }
    }
}

/// Writes the `four`th of a line to `to` from `first` on.
#[cube]
fn store<F: Float, N: Size>(
    values: Four,
    to: &mut [Vector<F, N>],
    first: usize,
    four: usize,
    #[comptime] shape: TileShape,
) {
    let access = N::value().comptime();
    #[unroll]
    for nth in 0..comptime!(TOGETHER / access) {
        if four * TOGETHER + nth * access < shape.size {
            let mut written = Vector::<F, N>::new(F::new(0.0));
            #[unroll]
            for within in 0..access {
                written
                    .insert(within, F::cast_from(values.extract(comptime!(nth * access + within))));
            }
            to[first / access + nth] = written;
        }
    }
}

/// Writes the sum of the [`BLOCK`] lines of a tile to `sums` from `start` on.
#[cube]
pub(super) fn sum_of_tile<N: Size>(
    tile: &Tile,
    sums: &mut [Vector<f32, N>],
    start: usize,
    #[comptime] shape: TileShape,
) {
    let four = UNIT_POS as usize;
    if four < comptime!(shape.fours()) {
        let mut sum = Four::new(0.0f32);
        for line in 0..BLOCK {
            sum += tile[line * comptime!(shape.stride()) + four];
        }
        store(sum, sums, start + four * TOGETHER, four, shape);
    }
}

/// The sum over the units of a query. `shared` has an element per unit, which no unit reads any more.
#[cube]
pub(super) fn sum_beside(number: f32, shared: &mut Shared<[f32]>) -> f32 {
    let (line, _) = own();
    shared[UNIT_POS as usize] = number;
    sync_cube();
    let mut total = 0.0f32;
    for nth in 0..BESIDE {
        total += shared[line * BESIDE + nth];
    }
    total
}

/// From the numbers of a query's units to those of the next in [`highest_beside`], which loops call. If it
/// were as many as there are units, the indices would be the same as in [`sum_beside`], and would take registers
/// through the loop.
const NEXT: usize = BESIDE + TOGETHER;

/// The elements that [`highest_beside`] needs.
pub(super) const NUMBERS_BESIDE: usize = BLOCK * NEXT;

/// The highest number of the units of a query. No unit reads `shared` any more.
#[cube]
pub(super) fn highest_beside(number: f32, shared: &mut Shared<[f32]>) -> f32 {
    let (line, unit) = own();
    shared[line * NEXT + unit] = number;
    sync_cube();
    let mut highest = number;
    for nth in 0..BESIDE {
        highest = max(highest, shared[line * NEXT + nth]);
    }
    highest
}

/// The query (or key) of this unit within its block, and its number among the units of it.
#[cube]
pub(super) fn own() -> (usize, usize) {
    (UNIT_POS as usize / BESIDE, UNIT_POS as usize % BESIDE)
}

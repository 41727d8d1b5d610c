//! The forward pass of attention.

use cubecl::ir::ElemType;

use super::place::{Layout, place};
use super::sizes::{BESIDE, Kind, Sizes, UNITS};
use super::source::Source;
use super::tile::*;
use super::*;
use crate::model::device::format::element;

impl Attention {
    pub(super) fn attend(&self, inputs: Inputs) -> (CubeTensor, Saved) {
        let Sizes { rows, queries, heads, .. } = self.sizes;
        let query = &inputs.projections[0];
        let shape = [rows, queries, self.sizes.hidden()];
        let output = empty(query, shape, factor_type(self.options.precision));
        let logarithms = empty(query, [rows, heads, queries], DType::F32);
        // SAFETY: tokens beyond a row are not read, and the tensors have the shapes of `attention`.
        unsafe {
            forward_kernel::launch_unchecked(
                &output.client,
                self.sizes.cubes(queries),
                CubeDim::new_1d(UNITS),
                self.source(&inputs),
                output.clone().into_buffer_arg(),
                logarithms.clone().into_buffer_arg(),
                self.kind(&inputs),
                element(output.dtype),
                access(self.sizes.size),
            );
        }
        (output.clone(), Saved { inputs, output, logarithms })
    }
}

#[cube(launch_unchecked)]
fn forward_kernel<F: Float, N: Size>(
    from: Source<N>,
    output: &mut [Vector<F, N>],
    logarithms: &mut [f32],
    #[comptime] kind: Kind,
    #[define(F)] _factor: ElemType,
    #[define(N)] _access: usize,
) {
    let step = comptime!(kind.step);
    let (tile, others) = comptime!((TileShape::own(kind), TileShape::other(kind)));
    let at = place();
    let (line, unit) = own();
    let asking = at.start + line;
    let is_real = asking < from.sizes.queries as usize;
    let mut queries = Tile::new_slice(comptime!(tile.count()));
    let mut keys = Tile::new_slice(comptime!(others.count()));
    let mut values = Tile::new_slice(comptime!(others.count()));
    let mut shares = Shared::<[f32]>::new_slice(comptime!(numbers(step)));
    let mut beside = Shared::<[f32]>::new_slice(NUMBERS_BESIDE);
    from.load_query(&at, at.start, &mut queries, tile, kind);
    let mut scores = Array::<f32>::new(comptime!(step / BESIDE));
    let mut attended = zeros(tile);
    let mut highest = (-1e30f32).runtime();
    let mut sum = 0.0f32;
    let dropped = from.keys_of_row(at.row, kind);
    let (mut first, end) = from.span_of_block(&at, kind);
    while first < end {
        sync_cube();
        from.load_key(&at, first, &mut keys, others, kind);
        from.load_value(&at, first, &mut values, others, kind);
        sync_cube();
        dots(&mut scores, &queries, &keys, end - first, others);
        let mut own_highest = (-1e30f32).runtime();
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let position = first + nth * BESIDE + unit;
            let mut score = (-1e30f32).runtime();
            if is_real && position < end && from.are_near(asking, position, kind) {
                score = from.score(scores[nth], &at, asking, position, kind);
            }
            scores[nth] = score;
            own_highest = max(own_highest, score);
        }
        let before = highest;
        highest = max(highest, highest_beside(own_highest, &mut beside));
        let shrink = (before - highest).exp();
        sum *= shrink;
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let position = first + within;
            let mut share = 0.0f32;
            if position < end && from.are_near(asking, position, kind) {
                share = (scores[nth] - highest).exp();
            }
            sum += share;
            shares[number_at(line, within, step)] =
                share * from.dropout(&dropped, &at, asking, position, kind);
        }
        sync_cube();
        add_products(&mut attended, shrink, &shares, &values, end - first, others);
        first += step;
    }
    sync_cube();
    let mut total = sum_beside(sum, &mut shares);
    if comptime!(kind.is_local) {
        // Padding may see nothing. A token sees itself, with the share 1 of its highest score at least.
        total = max(total, 1e-30f32);
    }
    if is_real && unit == 0 {
        logarithms[from.cell(&at, asking)] = highest + total.ln();
    }
    let layout = Layout::of_output(&from.sizes, kind.size);
    write(&attended, 1.0f32 / total, &at, &layout, output, tile);
}

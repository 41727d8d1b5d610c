//! The forward pass of attention.

use cubecl::ir::ElemType;

use super::sizes::{BESIDE, BLOCK, Kind, Sizes, UNITS};
use super::tile::{Layout, Source, TileShape, add_products, dot, own, place};
use super::*;
use crate::model::device::linear::element;

impl Attention {
    pub(super) fn attend(&self, inputs: Inputs) -> (CubeTensor, Saved) {
        let Sizes { rows, queries, heads, .. } = self.sizes;
        let query = &inputs.projections[0];
        let shape = [rows, queries, self.sizes.hidden()];
        let output = empty(query, shape, factor_type(self.options.precision));
        let logarithms = empty(query, [rows, heads, queries], DType::F32);
        // SAFETY: cubes beyond the rows do nothing, tokens beyond a row are not read, and the
        // tensors have the shapes of `attention`.
        unsafe {
            forward_kernel::launch_unchecked(
                &output.client,
                grid(self.sizes.cubes(queries)),
                CubeDim::new_1d(UNITS),
                self.source(&inputs),
                output.clone().into_buffer_arg(),
                logarithms.clone().into_buffer_arg(),
                self.kind(&inputs),
                element(output.dtype),
            );
        }
        (output.clone(), Saved { inputs, output, logarithms })
    }
}

#[cube(launch_unchecked)]
fn forward_kernel<F: Float>(
    from: Source,
    output: &mut [F],
    logarithms: &mut [f32],
    #[comptime] kind: Kind,
    #[define(F)] _factor: ElemType,
) {
    let step = comptime!(kind.step);
    let (tile, others) = comptime!((TileShape::own(kind), TileShape::other(kind)));
    let at = place(from.sizes.queries, from.sizes.heads);
    if at.row >= from.sizes.rows as usize {
        terminate!();
    }
    let (line, unit) = own();
    let asking = at.start + line;
    let is_real = asking < from.sizes.queries as usize;
    let mut queries = Shared::<[f32]>::new_slice(comptime!(tile.count()));
    let mut keys = Shared::<[f32]>::new_slice(comptime!(others.count()));
    let mut values = Shared::<[f32]>::new_slice(comptime!(others.count()));
    let mut scores = Shared::<[f32]>::new_slice(comptime!(BLOCK * step));
    let mut sums = Shared::<[f32]>::new_slice(UNITS as usize);
    from.load_query(&at, at.start, &mut queries, tile);
    let mut attended = Array::<f32>::new(comptime!(kind.size.div_ceil(BESIDE)));
    let mut highest = (-1e30f32).runtime();
    let mut sum = 0.0f32;
    let (mut first, end) = from.span(at.row);
    while first < end {
        sync_cube();
        from.load_key(&at, first, &mut keys, others);
        from.load_value(&at, first, &mut values, others);
        sync_cube();
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let position = first + within;
            let mut score = (-1e30f32).runtime();
            if is_real && position < end {
                let product = dot(&queries, line, tile, &keys, within, others);
                score = from.score(product, &at, asking, position, kind);
            }
            scores[line * step + within] = score;
        }
        sync_cube();
        let before = highest;
        highest = max(highest, highest_of(&scores, step));
        let shrink = (before - highest).exp();
        sum *= shrink;
        sync_cube();
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let position = first + within;
            let mut share = 0.0f32;
            if position < end {
                share = (scores[line * step + within] - highest).exp();
            }
            sum += share;
            scores[line * step + within] = share * from.dropout(&at, asking, position, kind);
        }
        sync_cube();
        add_products(&mut attended, shrink, &scores, &values, others);
        first += step;
    }
    let total = sum_beside(sum, &mut sums);
    if is_real {
        let layout = Layout::of_output(&from.sizes, kind.size);
        let start = layout.at(at.row, asking, at.head, kind.size);
        #[unroll]
        for nth in 0..comptime!(kind.size.div_ceil(BESIDE)) {
            let feature = nth * BESIDE + unit;
            if feature < kind.size {
                output[start + feature] = F::cast_from(attended[nth] / total);
            }
        }
        if unit == 0 {
            logarithms[from.cell(&at, asking)] = highest + total.ln();
        }
    }
}

/// The highest of a query's scores.
#[cube]
fn highest_of(scores: &Shared<[f32]>, #[comptime] step: usize) -> f32 {
    let (line, _) = own();
    let mut highest = (-1e30f32).runtime();
    for within in 0..step {
        highest = max(highest, scores[line * step + within]);
    }
    highest
}

/// The sum over the units of a query.
#[cube]
fn sum_beside(number: f32, shared: &mut Shared<[f32]>) -> f32 {
    let (line, _) = own();
    shared[UNIT_POS as usize] = number;
    sync_cube();
    let mut total = 0.0f32;
    for nth in 0..BESIDE {
        total += shared[line * BESIDE + nth];
    }
    total
}

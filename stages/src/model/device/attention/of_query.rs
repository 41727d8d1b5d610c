//! The gradient of the queries.

use cubecl::ir::ElemType;

use super::place::{Layout, place};
use super::sizes::{BESIDE, Kind};
use super::source::Source;
use super::tile::*;
use super::*;

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
pub(super) fn of_query_kernel<F: Float, N: Size>(
    from: Source<N>,
    gradient: &[Vector<f32, N>],
    output: &[Vector<F, N>],
    logarithms: &[f32],
    of_query: &mut [Vector<F, N>],
    along: &mut [f32],
    of_bias: &mut [Vector<f32, N>],
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
    let resulting = Layout::of_output(&from.sizes, kind.size);
    let mut queries = Tile::new_slice(comptime!(tile.count()));
    let mut gradients = Tile::new_slice(comptime!(tile.count()));
    let mut keys = Tile::new_slice(comptime!(others.count()));
    let mut values = Tile::new_slice(comptime!(others.count()));
    let mut of_scores = Shared::<[f32]>::new_slice(comptime!(numbers(step)));
    from.load_query(&at, at.start, &mut queries, tile, kind);
    load_head(gradient, &resulting, &at, at.start, &mut gradients, tile);
    sync_cube();
    let mut part = 0.0f32;
    let mut logarithm = 0.0f32;
    if is_real {
        let start = resulting.at(at.row, asking, at.head, kind.size);
        part = along_output(output, start, &gradients, tile);
        logarithm = logarithms[from.cell(&at, asking)];
    }
    // Every unit of a query sums in the same order.
    let own_along = sum_beside(part, &mut of_scores);
    if is_real && unit == 0 {
        along[from.cell(&at, asking)] = own_along;
    }
    let mut products = Array::<f32>::new(comptime!(step / BESIDE));
    let mut of_shares = Array::<f32>::new(comptime!(step / BESIDE));
    let mut of_own = zeros(tile);
    let dropped = from.keys_of_row(at.row, kind);
    let (mut first, end) = from.span_of_block(&at, kind);
    while first < end {
        sync_cube();
        from.load_key(&at, first, &mut keys, others, kind);
        from.load_value(&at, first, &mut values, others, kind);
        sync_cube();
        dots(&mut products, &queries, &keys, end - first, others);
        dots(&mut of_shares, &gradients, &values, end - first, others);
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let position = first + within;
            let mut of_score = 0.0f32;
            if is_real && position < end && from.are_near(asking, position, kind) {
                let score = from.score(products[nth], &at, asking, position, kind);
                let of_share = of_shares[nth] * from.dropout(&dropped, &at, asking, position, kind);
                of_score = (score - logarithm).exp() * (of_share - own_along);
            }
            of_scores[number_at(line, within, step)] = of_score;
        }
        sync_cube();
        add_products(&mut of_own, 1.0f32, &of_scores, &keys, end - first, others);
        first += step;
    }
    sync_cube();
    let layout = Layout::of_query(&from.sizes);
    write(&of_own, from.sizes.scale, &at, &layout, of_query, tile);
    if comptime!(kind.has_biases) {
        keep(&of_own, from.sizes.scale, &mut queries, tile);
        sync_cube();
        let line = from.sizes.query_stride as usize * at.block(from.sizes.queries);
        sum_of_tile(&queries, of_bias, line + at.head * kind.size, tile);
    }
}

/// The part of this unit's features in the sum of a query's gradient times its result.
#[cube]
fn along_output<F: Float, N: Size>(
    output: &[Vector<F, N>],
    start: usize,
    gradients: &Tile,
    #[comptime] shape: TileShape,
) -> f32 {
    let (line, unit) = own();
    let mut sum = 0.0f32;
    #[unroll]
    for nth in 0..comptime!(shape.of_unit()) {
        let four = nth * BESIDE + unit;
        if four < comptime!(shape.fours()) {
            let gradient = gradients[line * comptime!(shape.stride()) + four];
            let result = four_of(output, start + four * TOGETHER, four, shape);
            #[unroll]
            for within in 0..TOGETHER {
                sum += gradient.extract(within) * result.extract(within);
            }
        }
    }
    sum
}

//! The gradient of the queries.

use cubecl::ir::ElemType;

use super::sizes::{BESIDE, BLOCK, Kind};
use super::tile::{Layout, Place, Source, TileShape, add_products, dot, load_head, own};
use super::tile::{place, sum_of_lines};
use super::*;

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
pub(super) fn of_query_kernel<F: Float>(
    from: Source,
    gradient: &[f32],
    output: &[F],
    logarithms: &[f32],
    of_query: &mut [F],
    along: &mut [f32],
    of_bias: &mut [f32],
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
    let resulting = Layout::of_output(&from.sizes, kind.size);
    let mut queries = Shared::<[f32]>::new_slice(comptime!(tile.count()));
    let mut gradients = Shared::<[f32]>::new_slice(comptime!(tile.count()));
    let mut keys = Shared::<[f32]>::new_slice(comptime!(others.count()));
    let mut values = Shared::<[f32]>::new_slice(comptime!(others.count()));
    let mut of_scores = Shared::<[f32]>::new_slice(comptime!(BLOCK * step));
    from.load_query(&at, at.start, &mut queries, tile);
    load_head(gradient, &resulting, &at, at.start, &mut gradients, tile);
    sync_cube();
    // Every unit of a query sums in the same order.
    let mut own_along = 0.0f32;
    let mut logarithm = 0.0f32;
    if is_real {
        let start = resulting.at(at.row, asking, at.head, kind.size);
        for feature in 0..kind.size {
            let result = f32::cast_from(output[start + feature]);
            own_along += gradients[line * kind.size + feature] * result;
        }
        logarithm = logarithms[from.cell(&at, asking)];
        if unit == 0 {
            along[from.cell(&at, asking)] = own_along;
        }
    }
    let mut of_own = Array::<f32>::new(comptime!(kind.size.div_ceil(BESIDE)));
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
            let mut of_score = 0.0f32;
            if is_real && position < end {
                let product = dot(&queries, line, tile, &keys, within, others);
                let score = from.score(product, &at, asking, position, kind);
                let of_share = dot(&gradients, line, tile, &values, within, others)
                    * from.dropout(&at, asking, position, kind);
                of_score = (score - logarithm).exp() * (of_share - own_along);
            }
            of_scores[line * step + within] = of_score;
        }
        sync_cube();
        add_products(&mut of_own, 1.0f32, &of_scores, &keys, others);
        first += step;
    }
    sync_cube();
    write(&from, &at, &of_own, &mut queries, of_query, kind);
    sync_cube();
    let line = from.sizes.query_stride as usize * at.block(from.sizes.queries);
    let start = line + at.head * kind.size;
    sum_of_lines(&queries, of_bias, start, kind.size);
}

/// Writes the gradient of this unit's features, and puts it into `tile`.
#[cube]
fn write<F: Float>(
    from: &Source,
    at: &Place,
    of_own: &Array<f32>,
    tile: &mut Shared<[f32]>,
    of_query: &mut [F],
    #[comptime] kind: Kind,
) {
    let (line, unit) = own();
    let asking = at.start + line;
    let layout = Layout::of_query(&from.sizes);
    #[unroll]
    for nth in 0..comptime!(kind.size.div_ceil(BESIDE)) {
        let feature = nth * BESIDE + unit;
        if feature < kind.size {
            let gradient = of_own[nth] * from.sizes.scale;
            tile[line * kind.size + feature] = gradient;
            if asking < from.sizes.queries as usize {
                let start = layout.at(at.row, asking, at.head, kind.size);
                of_query[start + feature] = F::cast_from(gradient);
            }
        }
    }
}

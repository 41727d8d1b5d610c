//! The gradients of the keys and values.

use cubecl::ir::ElemType;

use super::place::{Layout, place};
use super::sizes::{BESIDE, Kind};
use super::source::Source;
use super::tile::*;
use super::*;

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
pub(super) fn of_key_kernel<F: Float, N: Size>(
    from: Source<N>,
    gradient: &[Vector<f32, N>],
    logarithms: &[f32],
    along: &[f32],
    of_both: &mut [Vector<F, N>],
    of_biases: &mut [Vector<f32, N>],
    #[comptime] kind: Kind,
    #[define(F)] _factor: ElemType,
    #[define(N)] _access: usize,
) {
    let step = comptime!(kind.step);
    let (tile, others) = comptime!((TileShape::own(kind), TileShape::other(kind)));
    let at = place();
    let (line, unit) = own();
    let position = at.start + line;
    let (begin, after_last) = from.span(at.row);
    let is_read = position >= begin && position < after_last;
    let resulting = Layout::of_output(&from.sizes, kind.size);
    let mut keys = Tile::new_slice(comptime!(tile.count()));
    let mut values = Tile::new_slice(comptime!(tile.count()));
    let mut queries = Tile::new_slice(comptime!(others.count()));
    let mut gradients = Tile::new_slice(comptime!(others.count()));
    let mut shares = Shared::<[f32]>::new_slice(comptime!(numbers(step)));
    let mut of_scores = Shared::<[f32]>::new_slice(comptime!(numbers(step)));
    from.load_key(&at, at.start, &mut keys, tile, kind);
    from.load_value(&at, at.start, &mut values, tile, kind);
    let mut products = Array::<f32>::new(comptime!(step / BESIDE));
    let mut of_shares = Array::<f32>::new(comptime!(step / BESIDE));
    let mut of_key = zeros(tile);
    let mut of_value = zeros(tile);
    let dropped = from.keys_of_row(at.row, kind);
    let (mut first, end) = from.queries_of_block(&at, kind);
    while first < end {
        sync_cube();
        from.load_query(&at, first, &mut queries, others, kind);
        load_head(gradient, &resulting, &at, first, &mut gradients, others);
        sync_cube();
        dots(&mut products, &keys, &queries, end - first, others);
        dots(&mut of_shares, &values, &gradients, end - first, others);
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let asking = first + within;
            let mut share = 0.0f32;
            let mut of_score = 0.0f32;
            if is_read && asking < end && from.are_near(asking, position, kind) {
                let score = from.score(products[nth], &at, asking, position, kind);
                let cell = from.cell(&at, asking);
                let probability = (score - logarithms[cell]).exp();
                let factor = from.dropout(&dropped, &at, asking, position, kind);
                share = probability * factor;
                of_score = probability * (of_shares[nth] * factor - along[cell]);
            }
            shares[number_at(line, within, step)] = share;
            of_scores[number_at(line, within, step)] = of_score;
        }
        sync_cube();
        add_products(&mut of_key, 1.0f32, &of_scores, &queries, end - first, others);
        add_products(&mut of_value, 1.0f32, &shares, &gradients, end - first, others);
        first += step;
    }
    sync_cube();
    let layout = Layout::of_key(&from.sizes);
    write(&of_key, from.sizes.scale, &at, &layout, of_both, tile);
    let layout = Layout::of_value(&from.sizes);
    write(&of_value, 1.0f32, &at, &layout, of_both, tile);
    if comptime!(kind.has_biases) {
        keep(&of_key, from.sizes.scale, &mut keys, tile);
        keep(&of_value, 1.0f32, &mut values, tile);
        sync_cube();
        let line = from.sizes.key_stride as usize * at.block(from.sizes.keys) + at.head * kind.size;
        sum_of_tile(&keys, of_biases, line + from.sizes.key_start as usize, tile);
        sum_of_tile(&values, of_biases, line + from.sizes.value_start as usize, tile);
    }
}

//! The gradients of the keys and values.

use cubecl::ir::ElemType;

use super::sizes::{BESIDE, BLOCK, Kind};
use super::tile::{Layout, Place, Source, TileShape, add_products, dot, load_head, own};
use super::tile::{place, sum_of_lines};
use super::*;

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
pub(super) fn of_key_kernel<F: Float>(
    from: Source,
    gradient: &[f32],
    logarithms: &[f32],
    along: &[f32],
    of_both: &mut [F],
    of_biases: &mut [f32],
    #[comptime] kind: Kind,
    #[define(F)] _factor: ElemType,
) {
    let step = comptime!(kind.step);
    let (tile, others) = comptime!((TileShape::own(kind), TileShape::other(kind)));
    let at = place(from.sizes.keys, from.sizes.heads);
    if at.row >= from.sizes.rows as usize {
        terminate!();
    }
    let (line, unit) = own();
    let position = at.start + line;
    let (begin, end) = from.span(at.row);
    let is_read = position >= begin && position < end;
    let resulting = Layout::of_output(&from.sizes, kind.size);
    let mut keys = Shared::<[f32]>::new_slice(comptime!(tile.count()));
    let mut values = Shared::<[f32]>::new_slice(comptime!(tile.count()));
    let mut queries = Shared::<[f32]>::new_slice(comptime!(others.count()));
    let mut gradients = Shared::<[f32]>::new_slice(comptime!(others.count()));
    let mut shares = Shared::<[f32]>::new_slice(comptime!(BLOCK * step));
    let mut of_scores = Shared::<[f32]>::new_slice(comptime!(BLOCK * step));
    from.load_key(&at, at.start, &mut keys, tile);
    from.load_value(&at, at.start, &mut values, tile);
    let mut of_key = Array::<f32>::new(comptime!(kind.size.div_ceil(BESIDE)));
    let mut of_value = Array::<f32>::new(comptime!(kind.size.div_ceil(BESIDE)));
    let mut first = 0usize.runtime();
    while first < from.sizes.queries as usize {
        sync_cube();
        from.load_query(&at, first, &mut queries, others);
        load_head(gradient, &resulting, &at, first, &mut gradients, others);
        sync_cube();
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let asking = first + within;
            let mut share = 0.0f32;
            let mut of_score = 0.0f32;
            if is_read && asking < from.sizes.queries as usize {
                let product = dot(&keys, line, tile, &queries, within, others);
                let score = from.score(product, &at, asking, position, kind);
                let cell = from.cell(&at, asking);
                let probability = (score - logarithms[cell]).exp();
                let factor = from.dropout(&at, asking, position, kind);
                share = probability * factor;
                let of_share = dot(&values, line, tile, &gradients, within, others) * factor;
                of_score = probability * (of_share - along[cell]);
            }
            shares[line * step + within] = share;
            of_scores[line * step + within] = of_score;
        }
        sync_cube();
        add_products(&mut of_key, 1.0f32, &of_scores, &queries, others);
        add_products(&mut of_value, 1.0f32, &shares, &gradients, others);
        first += step;
    }
    sync_cube();
    write(
        &from,
        &at,
        &of_key,
        from.sizes.scale,
        &mut keys,
        of_both,
        Layout::of_key(&from.sizes),
        kind,
    );
    let layout = Layout::of_value(&from.sizes);
    write(&from, &at, &of_value, 1.0f32, &mut values, of_both, layout, kind);
    sync_cube();
    let line = from.sizes.key_stride as usize * at.block(from.sizes.keys) + at.head * kind.size;
    sum_of_lines(&keys, of_biases, line + from.sizes.key_start as usize, kind.size);
    sum_of_lines(&values, of_biases, line + from.sizes.value_start as usize, kind.size);
}

/// Writes the gradient of this unit's features, times `scale`, and puts it into `tile`.
#[cube]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn write<F: Float>(
    from: &Source,
    at: &Place,
    of_own: &Array<f32>,
    scale: f32,
    tile: &mut Shared<[f32]>,
    of_both: &mut [F],
    layout: Layout,
    #[comptime] kind: Kind,
) {
    let (line, unit) = own();
    let position = at.start + line;
    #[unroll]
    for nth in 0..comptime!(kind.size.div_ceil(BESIDE)) {
        let feature = nth * BESIDE + unit;
        if feature < kind.size {
            let gradient = of_own[nth] * scale;
            tile[line * kind.size + feature] = gradient;
            if position < from.sizes.keys as usize {
                let start = layout.at(at.row, position, at.head, kind.size);
                of_both[start + feature] = F::cast_from(gradient);
            }
        }
    }
}

//! The gradient of the relative attention bias (Song et al. 2020): that of the scores, summed over
//! the rows in their order.

use super::place::{Layout, Place};
use super::sizes::{BESIDE, BLOCK, Kind, Sizes, UNITS};
use super::source::Source;
use super::tile::*;
use super::*;

impl Attention {
    /// # Shapes
    ///
    /// Result: `[1, heads, keys, keys]`.
    pub(super) fn gradient_of_relative(
        &self,
        saved: &Saved,
        gradient: &CubeTensor,
        along: &CubeTensor,
    ) -> CubeTensor {
        let Sizes { keys, heads, .. } = self.sizes;
        let Saved { inputs, output, logarithms } = saved;
        let of_relative = empty(output, [1, heads, keys, keys], DType::F32);
        let [blocks, steps] = [BLOCK, self.sizes.step()].map(|each| keys.div_ceil(each) as u32);
        // SAFETY: tokens beyond a row are neither read nor written, and the tensors have the shapes of
        // `attention`.
        unsafe {
            of_relative_kernel::launch_unchecked(
                &output.client,
                CubeCount::Static(steps, blocks, heads as u32),
                CubeDim::new_1d(UNITS),
                self.source(inputs),
                gradient.clone().into_buffer_arg(),
                along.clone().into_buffer_arg(),
                logarithms.clone().into_buffer_arg(),
                of_relative.clone().into_buffer_arg(),
                self.kind(inputs),
                access(self.sizes.size),
            );
        }
        of_relative
    }
}

#[cube(launch_unchecked)]
fn of_relative_kernel<N: Size>(
    from: Source<N>,
    gradient: &[Vector<f32, N>],
    along: &[f32],
    logarithms: &[f32],
    of_relative: &mut [f32],
    #[comptime] kind: Kind,
    #[define(N)] _access: usize,
) {
    let step = comptime!(kind.step);
    let (tile, others) = comptime!((TileShape::own(kind), TileShape::other(kind)));
    let tokens = from.sizes.keys as usize;
    let first = CUBE_POS_X as usize * step;
    let start = CUBE_POS_Y as usize * BLOCK;
    let head = CUBE_POS_Z as usize;
    let (line, unit) = own();
    let asking = start + line;
    let is_real = asking < from.sizes.queries as usize;
    let resulting = Layout::of_output(&from.sizes, kind.size);
    let mut queries = Tile::new_slice(comptime!(tile.count()));
    let mut gradients = Tile::new_slice(comptime!(tile.count()));
    let mut keys = Tile::new_slice(comptime!(others.count()));
    let mut values = Tile::new_slice(comptime!(others.count()));
    let mut products = Array::<f32>::new(comptime!(step / BESIDE));
    let mut of_shares = Array::<f32>::new(comptime!(step / BESIDE));
    let mut totals = Array::<f32>::new(comptime!(step / BESIDE));
    for row in 0..from.sizes.rows as usize {
        let at = Place { row, head, start };
        sync_cube();
        from.load_query(&at, start, &mut queries, tile, kind);
        load_head(gradient, &resulting, &at, start, &mut gradients, tile);
        from.load_key(&at, first, &mut keys, others, kind);
        from.load_value(&at, first, &mut values, others, kind);
        sync_cube();
        dots(&mut products, &queries, &keys, step, others);
        dots(&mut of_shares, &gradients, &values, step, others);
        let (begin, end) = from.span(row);
        let dropped = from.keys_of_row(row, kind);
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let position = first + within;
            if is_real
                && position >= begin
                && position < end
                && from.are_near(asking, position, kind)
            {
                let score = from.score(products[nth], &at, asking, position, kind);
                let of_share = of_shares[nth] * from.dropout(&dropped, &at, asking, position, kind);
                let cell = from.cell(&at, asking);
                totals[nth] += (score - logarithms[cell]).exp() * (of_share - along[cell]);
            }
        }
    }
    #[unroll]
    for nth in 0..comptime!(step / BESIDE) {
        let position = first + nth * BESIDE + unit;
        if asking < tokens && position < tokens {
            of_relative[(head * tokens + asking) * tokens + position] = totals[nth];
        }
    }
}

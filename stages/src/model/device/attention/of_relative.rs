//! The gradient of the relative attention bias (Song et al. 2020): that of the scores, summed over
//! the rows in their order.

use super::tile::{Layout, dot, dropped, load_head, own, relative_of, span};
use super::*;
use crate::model::device::noise::MaskArgs;

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
        let [query, key, value, query_bias, key_bias, value_bias] = inputs.tensors();
        let across = keys.div_ceil(self.sizes.step());
        // SAFETY: cubes beyond the heads do nothing, tokens beyond a row are neither read nor
        // written, and the tensors have the shapes of `attention`.
        unsafe {
            of_relative_kernel::launch_unchecked(
                &output.client,
                grid(heads * keys.div_ceil(BLOCK) * across),
                CubeDim::new_1d(UNITS),
                query,
                key,
                value,
                query_bias,
                key_bias,
                value_bias,
                inputs.relative.clone().into_buffer_arg(),
                inputs.spans.buffer(),
                inputs.mask.keys(),
                gradient.clone().into_buffer_arg(),
                along.clone().into_buffer_arg(),
                logarithms.clone().into_buffer_arg(),
                of_relative.clone().into_buffer_arg(),
                self.sizes.args(inputs.spans.start),
                inputs.mask.args(),
                self.kind(inputs),
            );
        }
        of_relative
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn of_relative_kernel(
    query: &[f32],
    key: &[f32],
    value: &[f32],
    query_bias: &[f32],
    key_bias: &[f32],
    value_bias: &[f32],
    relative: &[f32],
    spans: &[u32],
    mask_keys: &[u32],
    gradient: &[f32],
    along: &[f32],
    logarithms: &[f32],
    of_relative: &mut [f32],
    sizes: SizesArgs,
    mask: MaskArgs,
    #[comptime] kind: Kind,
) {
    let size = comptime!(kind.size);
    let step = comptime!(kind.step);
    let padded = comptime!(size + 1);
    let across = (sizes.keys as usize).div_ceil(step);
    let first = CUBE_POS as usize % across * step;
    let blocks = (sizes.keys as usize).div_ceil(BLOCK);
    let start = CUBE_POS as usize / across % blocks * BLOCK;
    let head = CUBE_POS as usize / across / blocks;
    if head >= sizes.heads as usize {
        terminate!();
    }
    let (asked, keyed) = (Layout::of_query(&sizes), Layout::of_key(&sizes));
    let valued = Layout::of_value(&sizes);
    let resulting = Layout::of_output(&sizes, size);
    let (line, unit) = own();
    let asking = start + line;
    let is_real = asking < sizes.queries as usize;
    let mut queries = Shared::<[f32]>::new_slice(comptime!(BLOCK * size));
    let mut gradients = Shared::<[f32]>::new_slice(comptime!(BLOCK * size));
    let mut keys = Shared::<[f32]>::new_slice(comptime!(step * padded));
    let mut values = Shared::<[f32]>::new_slice(comptime!(step * padded));
    let mut totals = Array::<f32>::new(comptime!(step / BESIDE));
    for row in 0..sizes.rows as usize {
        sync_cube();
        load_head(
            query,
            query_bias,
            &asked,
            row,
            head,
            start,
            &mut queries,
            BLOCK,
            size,
            size,
            true,
        );
        load_head(
            gradient,
            query_bias,
            &resulting,
            row,
            head,
            start,
            &mut gradients,
            BLOCK,
            size,
            size,
            false,
        );
        load_head(key, key_bias, &keyed, row, head, first, &mut keys, step, size, padded, true);
        load_head(
            value,
            value_bias,
            &valued,
            row,
            head,
            first,
            &mut values,
            step,
            size,
            padded,
            true,
        );
        sync_cube();
        let (begin, end) = span(spans, &sizes, row);
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let position = first + within;
            if is_real && position >= begin && position < end {
                let cell = (row * sizes.heads as usize + head) * sizes.queries as usize + asking;
                let mut score = dot(&queries, line * size, &keys, within * padded, size);
                score *= sizes.scale;
                score += relative_of(relative, &sizes, head, asking, position);
                let mut of_share = dot(&gradients, line * size, &values, within * padded, size);
                if comptime!(kind.drops) {
                    of_share *= dropped(mask_keys, &mask, row, head, asking, position);
                }
                totals[nth] += (score - logarithms[cell]).exp() * (of_share - along[cell]);
            }
        }
    }
    #[unroll]
    for nth in 0..comptime!(step / BESIDE) {
        let position = first + nth * BESIDE + unit;
        if asking < sizes.keys as usize && position < sizes.keys as usize {
            of_relative[(head * sizes.keys as usize + asking) * sizes.keys as usize + position] =
                totals[nth];
        }
    }
}

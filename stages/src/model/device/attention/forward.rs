//! The forward pass of attention.

use super::tile::{Layout, dot, dropped, load_head, own, place, relative_of, span};
use super::*;
use crate::model::device::linear::element;
use crate::model::device::noise::MaskArgs;
use cubecl::ir::ElemType;

impl Attention {
    pub(super) fn attend(&self, inputs: Inputs) -> (CubeTensor, Saved) {
        let Sizes { rows, queries, heads, .. } = self.sizes;
        let query = &inputs.projections[0];
        let shape = [rows, queries, self.sizes.hidden()];
        let output = empty(query, shape, factor_type(self.options.precision));
        let logarithms = empty(query, [rows, heads, queries], DType::F32);
        let [query, key, value, query_bias, key_bias, value_bias] = inputs.tensors();
        // SAFETY: cubes beyond the rows do nothing, tokens beyond a row are not read, and the
        // tensors have the shapes of `attention`.
        unsafe {
            forward_kernel::launch_unchecked(
                &output.client,
                grid(self.sizes.cubes(queries)),
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
                output.clone().into_buffer_arg(),
                logarithms.clone().into_buffer_arg(),
                self.sizes.args(inputs.spans.start),
                inputs.mask.args(),
                self.kind(&inputs),
                element(output.dtype),
            );
        }
        (output.clone(), Saved { inputs, output, logarithms })
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn forward_kernel<F: Float>(
    query: &[f32],
    key: &[f32],
    value: &[f32],
    query_bias: &[f32],
    key_bias: &[f32],
    value_bias: &[f32],
    relative: &[f32],
    spans: &[u32],
    mask_keys: &[u32],
    output: &mut [F],
    logarithms: &mut [f32],
    sizes: SizesArgs,
    mask: MaskArgs,
    #[comptime] kind: Kind,
    #[define(F)] _factor: ElemType,
) {
    let size = comptime!(kind.size);
    let step = comptime!(kind.step);
    let at = place(sizes.queries, sizes.heads);
    if at.row >= sizes.rows as usize {
        terminate!();
    }
    let (asked, keyed) = (Layout::of_query(&sizes), Layout::of_key(&sizes));
    let valued = Layout::of_value(&sizes);
    let resulting = Layout::of_output(&sizes, size);
    let (line, unit) = own();
    let asking = at.start + line;
    let mut queries = Shared::<[f32]>::new_slice(comptime!(BLOCK * size));
    let mut keys = Shared::<[f32]>::new_slice(comptime!(step * (size + 1)));
    let mut values = Shared::<[f32]>::new_slice(comptime!(step * size));
    let mut scores = Shared::<[f32]>::new_slice(comptime!(BLOCK * step));
    let mut sums = Shared::<[f32]>::new_slice(UNITS as usize);
    load_head(
        query,
        query_bias,
        &asked,
        at.row,
        at.head,
        at.start,
        &mut queries,
        BLOCK,
        size,
        size,
        true,
    );
    let mut attended = Array::<f32>::new(comptime!(size.div_ceil(BESIDE)));
    let mut highest = (-1e30f32).runtime();
    let mut sum = 0.0f32;
    let (mut first, end) = span(spans, &sizes, at.row);
    while first < end {
        sync_cube();
        load_head(
            key,
            key_bias,
            &keyed,
            at.row,
            at.head,
            first,
            &mut keys,
            step,
            size,
            comptime!(size + 1),
            true,
        );
        load_head(
            value,
            value_bias,
            &valued,
            at.row,
            at.head,
            first,
            &mut values,
            step,
            size,
            size,
            true,
        );
        sync_cube();
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let position = first + within;
            let mut score = (-1e30f32).runtime();
            if position < end {
                score = dot(&queries, line * size, &keys, within * (size + 1), size) * sizes.scale;
                if comptime!(kind.is_relative) {
                    if asking < sizes.queries as usize {
                        score += relative_of(relative, &sizes, at.head, asking, position);
                    }
                }
            }
            scores[line * step + within] = score;
        }
        sync_cube();
        let before = highest;
        for within in 0..step {
            highest = max(highest, scores[line * step + within]);
        }
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
            if comptime!(kind.drops) {
                share *= dropped(mask_keys, &mask, at.row, at.head, asking, position);
            }
            scores[line * step + within] = share;
        }
        sync_cube();
        #[unroll]
        for nth in 0..comptime!(size.div_ceil(BESIDE)) {
            let feature = nth * BESIDE + unit;
            if feature < size {
                let mut total = attended[nth] * shrink;
                for within in 0..step {
                    total += scores[line * step + within] * values[within * size + feature];
                }
                attended[nth] = total;
            }
        }
        first += step;
    }
    sums[UNIT_POS as usize] = sum;
    sync_cube();
    let mut total = 0.0f32;
    for nth in 0..BESIDE {
        total += sums[line * BESIDE + nth];
    }
    if asking < sizes.queries as usize {
        let start = resulting.at(at.row, asking, at.head, size);
        #[unroll]
        for nth in 0..comptime!(size.div_ceil(BESIDE)) {
            let feature = nth * BESIDE + unit;
            if feature < size {
                output[start + feature] = F::cast_from(attended[nth] / total);
            }
        }
        if unit == 0 {
            let head = at.row * sizes.heads as usize + at.head;
            logarithms[head * sizes.queries as usize + asking] = highest + total.ln();
        }
    }
}

//! The backward pass of attention: the gradients of the queries, then of the keys and values, then
//! of the relative bias if there is one. Each computes the probabilities again.

use cubecl::ir::ElemType;

use super::tile::{Layout, dot, dropped, load_head, own, place, relative_of, span};
use super::*;
use crate::model::device::linear::element;
use crate::model::device::noise::MaskArgs;
use crate::model::device::slice;

impl Attention {
    /// The gradients of the projections, which are written to `into`, and of the biases.
    pub(super) fn gradients(
        &self,
        saved: &Saved,
        gradient: &CubeTensor,
        into: [CubeTensor; 2],
    ) -> Found {
        let Sizes { rows, queries, keys, heads, .. } = self.sizes;
        let hidden = self.sizes.hidden();
        let Saved { inputs, output, logarithms } = saved;
        let factor = output.dtype;
        let query_blocks = rows * queries.div_ceil(BLOCK);
        let key_blocks = rows * keys.div_ceil(BLOCK);
        let of_query_bias = empty(output, [query_blocks, hidden], DType::F32);
        // Of the keys' bias, then of the values'.
        let of_other_biases = empty(output, [key_blocks, 2 * hidden], DType::F32);
        let along = empty(output, [rows, heads, queries], DType::F32);
        let [query, key, value, query_bias, key_bias, value_bias] = inputs.tensors();
        // SAFETY: cubes beyond the rows do nothing, tokens beyond a row are neither read nor
        // written, and the tensors have the shapes of `attention`.
        unsafe {
            of_query_kernel::launch_unchecked(
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
                gradient.clone().into_buffer_arg(),
                output.clone().into_buffer_arg(),
                logarithms.clone().into_buffer_arg(),
                into[0].clone().into_buffer_arg(),
                along.clone().into_buffer_arg(),
                of_query_bias.clone().into_buffer_arg(),
                self.sizes.args(inputs.spans.start),
                inputs.mask.args(),
                self.kind(inputs),
                element(factor),
            );
        }
        let [query, key, value, query_bias, key_bias, value_bias] = inputs.tensors();
        // SAFETY: as above.
        unsafe {
            of_key_kernel::launch_unchecked(
                &output.client,
                grid(self.sizes.cubes(keys)),
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
                logarithms.clone().into_buffer_arg(),
                along.clone().into_buffer_arg(),
                into[1].clone().into_buffer_arg(),
                of_other_biases.clone().into_buffer_arg(),
                self.sizes.args(inputs.spans.start),
                inputs.mask.args(),
                self.kind(inputs),
                element(factor),
            );
        }
        let of_query_bias = over_blocks(&of_query_bias, query_blocks, hidden);
        let of_other_biases = over_blocks(&of_other_biases, key_blocks, 2 * hidden);
        let [of_key_bias, of_value_bias] = [0, 1].map(|nth| slice(&of_other_biases, nth, hidden));
        Found { projections: into, biases: [of_query_bias, of_key_bias, of_value_bias], along }
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn of_query_kernel<F: Float>(
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
    output: &[F],
    logarithms: &[f32],
    of_query: &mut [F],
    along: &mut [f32],
    of_bias: &mut [f32],
    sizes: SizesArgs,
    mask: MaskArgs,
    #[comptime] kind: Kind,
    #[define(F)] _factor: ElemType,
) {
    let size = comptime!(kind.size);
    let step = comptime!(kind.step);
    let padded = comptime!(size + 1);
    let at = place(sizes.queries, sizes.heads);
    if at.row >= sizes.rows as usize {
        terminate!();
    }
    let (asked, keyed) = (Layout::of_query(&sizes), Layout::of_key(&sizes));
    let valued = Layout::of_value(&sizes);
    let resulting = Layout::of_output(&sizes, size);
    let (line, unit) = own();
    let asking = at.start + line;
    let is_real = asking < sizes.queries as usize;
    let hidden = sizes.heads as usize * size;
    let mut queries = Shared::<[f32]>::new_slice(comptime!(BLOCK * size));
    let mut gradients = Shared::<[f32]>::new_slice(comptime!(BLOCK * size));
    let mut keys = Shared::<[f32]>::new_slice(comptime!(step * padded));
    let mut values = Shared::<[f32]>::new_slice(comptime!(step * padded));
    let mut of_scores = Shared::<[f32]>::new_slice(comptime!(BLOCK * step));
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
    load_head(
        gradient,
        query_bias,
        &resulting,
        at.row,
        at.head,
        at.start,
        &mut gradients,
        BLOCK,
        size,
        size,
        false,
    );
    sync_cube();
    // Every unit of a query sums in the same order.
    let mut own_along = 0.0f32;
    let mut logarithm = 0.0f32;
    if is_real {
        let start = resulting.at(at.row, asking, at.head, size);
        for feature in 0..size {
            own_along += gradients[line * size + feature] * f32::cast_from(output[start + feature]);
        }
        let cell = (at.row * sizes.heads as usize + at.head) * sizes.queries as usize + asking;
        logarithm = logarithms[cell];
        if unit == 0 {
            along[cell] = own_along;
        }
    }
    let mut of_own = Array::<f32>::new(comptime!(size.div_ceil(BESIDE)));
    let (mut first, end) = span(spans, &sizes, at.row);
    while first < end {
        sync_cube();
        load_head(
            key, key_bias, &keyed, at.row, at.head, first, &mut keys, step, size, padded, true,
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
            padded,
            true,
        );
        sync_cube();
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let position = first + within;
            let mut of_score = 0.0f32;
            if is_real && position < end {
                let mut score = dot(&queries, line * size, &keys, within * padded, size);
                score *= sizes.scale;
                if comptime!(kind.is_relative) {
                    score += relative_of(relative, &sizes, at.head, asking, position);
                }
                let mut of_share = dot(&gradients, line * size, &values, within * padded, size);
                if comptime!(kind.drops) {
                    of_share *= dropped(mask_keys, &mask, at.row, at.head, asking, position);
                }
                of_score = (score - logarithm).exp() * (of_share - own_along);
            }
            of_scores[line * step + within] = of_score;
        }
        sync_cube();
        #[unroll]
        for nth in 0..comptime!(size.div_ceil(BESIDE)) {
            let feature = nth * BESIDE + unit;
            if feature < size {
                let mut total = of_own[nth];
                for within in 0..step {
                    total += of_scores[line * step + within] * keys[within * padded + feature];
                }
                of_own[nth] = total;
            }
        }
        first += step;
    }
    sync_cube();
    #[unroll]
    for nth in 0..comptime!(size.div_ceil(BESIDE)) {
        let feature = nth * BESIDE + unit;
        if feature < size {
            let gradient = of_own[nth] * sizes.scale;
            queries[line * size + feature] = gradient;
            if is_real {
                let start = asked.at(at.row, asking, at.head, size);
                of_query[start + feature] = F::cast_from(gradient);
            }
        }
    }
    sync_cube();
    let blocks = sizes.queries.div_ceil(BLOCK as u32) as usize;
    let block = at.row * blocks + at.start / BLOCK;
    sum_of_lines(&queries, of_bias, block * hidden + at.head * size, size);
}

/// Writes the sum of the [`BLOCK`] lines of a tile to `sums` from `start` on.
#[cube]
fn sum_of_lines(tile: &Shared<[f32]>, sums: &mut [f32], start: usize, #[comptime] size: usize) {
    let feature = UNIT_POS as usize;
    if feature < size {
        let mut sum = 0.0f32;
        for line in 0..BLOCK {
            sum += tile[line * size + feature];
        }
        sums[start + feature] = sum;
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn of_key_kernel<F: Float>(
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
    logarithms: &[f32],
    along: &[f32],
    of_both: &mut [F],
    of_biases: &mut [f32],
    sizes: SizesArgs,
    mask: MaskArgs,
    #[comptime] kind: Kind,
    #[define(F)] _factor: ElemType,
) {
    let size = comptime!(kind.size);
    let step = comptime!(kind.step);
    let padded = comptime!(size + 1);
    let at = place(sizes.keys, sizes.heads);
    if at.row >= sizes.rows as usize {
        terminate!();
    }
    let (asked, keyed) = (Layout::of_query(&sizes), Layout::of_key(&sizes));
    let valued = Layout::of_value(&sizes);
    let resulting = Layout::of_output(&sizes, size);
    let (line, unit) = own();
    let position = at.start + line;
    let is_real = position < sizes.keys as usize;
    let (begin, end) = span(spans, &sizes, at.row);
    let is_read = position >= begin && position < end;
    let hidden = sizes.heads as usize * size;
    let mut keys = Shared::<[f32]>::new_slice(comptime!(BLOCK * size));
    let mut values = Shared::<[f32]>::new_slice(comptime!(BLOCK * size));
    let mut queries = Shared::<[f32]>::new_slice(comptime!(step * padded));
    let mut gradients = Shared::<[f32]>::new_slice(comptime!(step * padded));
    let mut shares = Shared::<[f32]>::new_slice(comptime!(BLOCK * step));
    let mut of_scores = Shared::<[f32]>::new_slice(comptime!(BLOCK * step));
    load_head(key, key_bias, &keyed, at.row, at.head, at.start, &mut keys, BLOCK, size, size, true);
    load_head(
        value,
        value_bias,
        &valued,
        at.row,
        at.head,
        at.start,
        &mut values,
        BLOCK,
        size,
        size,
        true,
    );
    let mut of_own_key = Array::<f32>::new(comptime!(size.div_ceil(BESIDE)));
    let mut of_own_value = Array::<f32>::new(comptime!(size.div_ceil(BESIDE)));
    let mut first = 0usize.runtime();
    while first < sizes.queries as usize {
        sync_cube();
        load_head(
            query,
            query_bias,
            &asked,
            at.row,
            at.head,
            first,
            &mut queries,
            step,
            size,
            padded,
            true,
        );
        load_head(
            gradient,
            query_bias,
            &resulting,
            at.row,
            at.head,
            first,
            &mut gradients,
            step,
            size,
            padded,
            false,
        );
        sync_cube();
        #[unroll]
        for nth in 0..comptime!(step / BESIDE) {
            let within = nth * BESIDE + unit;
            let asking = first + within;
            let mut share = 0.0f32;
            let mut of_score = 0.0f32;
            if is_read && asking < sizes.queries as usize {
                let mut score = dot(&keys, line * size, &queries, within * padded, size);
                score *= sizes.scale;
                if comptime!(kind.is_relative) {
                    score += relative_of(relative, &sizes, at.head, asking, position);
                }
                let head = at.row * sizes.heads as usize + at.head;
                let cell = head * sizes.queries as usize + asking;
                let probability = (score - logarithms[cell]).exp();
                share = probability;
                let mut of_share = dot(&values, line * size, &gradients, within * padded, size);
                if comptime!(kind.drops) {
                    let factor = dropped(mask_keys, &mask, at.row, at.head, asking, position);
                    share *= factor;
                    of_share *= factor;
                }
                of_score = probability * (of_share - along[cell]);
            }
            shares[line * step + within] = share;
            of_scores[line * step + within] = of_score;
        }
        sync_cube();
        #[unroll]
        for nth in 0..comptime!(size.div_ceil(BESIDE)) {
            let feature = nth * BESIDE + unit;
            if feature < size {
                let mut of_this_key = of_own_key[nth];
                let mut of_this_value = of_own_value[nth];
                for within in 0..step {
                    let cell = line * step + within;
                    of_this_key += of_scores[cell] * queries[within * padded + feature];
                    of_this_value += shares[cell] * gradients[within * padded + feature];
                }
                of_own_key[nth] = of_this_key;
                of_own_value[nth] = of_this_value;
            }
        }
        first += step;
    }
    sync_cube();
    #[unroll]
    for nth in 0..comptime!(size.div_ceil(BESIDE)) {
        let feature = nth * BESIDE + unit;
        if feature < size {
            let gradient = of_own_key[nth] * sizes.scale;
            keys[line * size + feature] = gradient;
            values[line * size + feature] = of_own_value[nth];
            if is_real {
                let of_key = keyed.at(at.row, position, at.head, size) + feature;
                let of_value = valued.at(at.row, position, at.head, size) + feature;
                of_both[of_key] = F::cast_from(gradient);
                of_both[of_value] = F::cast_from(of_own_value[nth]);
            }
        }
    }
    sync_cube();
    let blocks = sizes.keys.div_ceil(BLOCK as u32) as usize;
    let start = (at.row * blocks + at.start / BLOCK) * 2 * hidden + at.head * size;
    sum_of_lines(&keys, of_biases, start, size);
    sum_of_lines(&values, of_biases, start + hidden, size);
}

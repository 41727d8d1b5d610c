//! The sum of word, position and type embeddings, its layer norm and dropout, in one pass.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::format::{element, factor_type};
use super::inputs::{Inputs, Layout};
use super::noise::{DeviceMask, MaskArgs, mask_element};
use super::norm::normalise;
use super::operation::{Operation, run};
use super::sums::{cube_sum, over_blocks};
use super::twins::{self, Twins, write_twin};
use super::{UNITS, contiguous, empty, grid, per_unit, slice, values};
use crate::model::noise::Mask;
use crate::model::precision::Precision;

/// Lines per cube of the backward pass, and per partial sum of the gradients of the norm.
const LINES: usize = 4;

/// `dropout(norm(words[…] + positions[…] + types[…]) · weight + bias)`; `None` if the tensors are
/// not on a GPU.
///
/// Forward reads three entries per token and writes the result, its twin and the normalised lines;
/// backward reads the gradient and the normalised lines once, and sums the result by entry.
///
/// # Shapes
///
/// The tables are `[entries, hidden]`, `weight` and `bias` `[hidden]`. The result is
/// `[rows, width, hidden]`.
pub fn embeddings(
    [words, positions, types]: [&Tensor<2>; 3],
    [weight, bias]: [&Tensor<1>; 2],
    eps: f64,
    inputs: &Inputs,
    mask: Option<Mask>,
    (precision, twins): (Precision, &Twins),
) -> Option<Tensor<3>> {
    let [words, positions, types] = values!(words, positions, types)?;
    let [weight, bias] = values!(weight, bias)?;
    let (inputs, twins) = (inputs.clone(), twins.clone());
    let operation = Embeddings { eps: eps as f32, inputs, mask, precision, twins };
    Some(run(operation, [words, positions, types, weight, bias]).tensor())
}

#[derive(Clone, Debug)]
struct Embeddings {
    eps: f32,
    inputs: Inputs,
    mask: Option<Mask>,
    precision: Precision,
    twins: Twins,
}

#[derive(Clone, Debug)]
struct Saved {
    /// `[rows, width, hidden]`; each line has mean 0 and variance 1.
    normalised: CubeTensor,
    /// `1 / sqrt(variance + eps)` of each line.
    scales: CubeTensor,
    weight: CubeTensor,
    mask: DeviceMask,
    /// The number of entries of each table.
    sizes: [usize; 3],
}

impl Operation<5> for Embeddings {
    type Saved = Saved;

    fn forward(&self, inputs: [CubeTensor; 5]) -> (CubeTensor, Saved) {
        let [words, positions, types, weight, bias] = inputs.map(contiguous);
        let Layout { rows, width, .. } = self.inputs.layout;
        let hidden = words.meta.shape()[1];
        let sizes = [&words, &positions, &types].map(|table| table.meta.shape()[0]);
        let output = empty(&words, [rows, width, hidden], DType::F32);
        let twin = Twins::room_for(&output, self.precision);
        let normalised = empty(&words, [rows, width, hidden], DType::F32);
        let scales = empty(&words, [rows * width], DType::F32);
        let mask = DeviceMask::new(self.mask.as_ref(), &weight);
        let entries = self.inputs.entries();
        // SAFETY: cubes beyond the lines do nothing, and units beyond `hidden` neither; the ids
        // were checked against the tables when the tokens were read.
        unsafe {
            forward_kernel::launch_unchecked(
                &words.client,
                grid(rows * width),
                CubeDim::new_1d(UNITS),
                words.clone().into_buffer_arg(),
                positions.into_buffer_arg(),
                types.into_buffer_arg(),
                weight.clone().into_buffer_arg(),
                bias.into_buffer_arg(),
                entries.buffer(),
                mask.keys(),
                output.clone().into_buffer_arg(),
                twins::argument(twin.as_ref()),
                normalised.clone().into_buffer_arg(),
                scales.clone().into_buffer_arg(),
                mask.args(),
                self.eps,
                entries.start,
                (rows * width) as u32,
                width as u32,
                hidden,
                mask.drops(),
                twin.is_some(),
                element(factor_type(self.precision)),
            );
        }
        self.twins.keep(&output, twin);
        (output, Saved { normalised, scales, weight, mask, sizes })
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        wanted: [bool; 5],
    ) -> [Option<CubeTensor>; 5] {
        let gradient = contiguous(gradient);
        let Layout { rows, width, .. } = self.inputs.layout;
        let (count, hidden) = (rows * width, saved.weight.meta.shape()[0]);
        let of_sum = empty(&gradient, [count, hidden], DType::F32);
        let blocks = count.div_ceil(LINES);
        // Of the weight, then of the bias.
        let partial = empty(&gradient, [blocks, 2 * hidden], DType::F32);
        // SAFETY: as in the forward pass.
        unsafe {
            backward_kernel::launch_unchecked(
                &gradient.client,
                grid(blocks),
                CubeDim::new_1d(UNITS),
                gradient.clone().into_buffer_arg(),
                saved.normalised.into_buffer_arg(),
                saved.scales.into_buffer_arg(),
                saved.weight.into_buffer_arg(),
                saved.mask.keys(),
                of_sum.clone().into_buffer_arg(),
                partial.clone().into_buffer_arg(),
                saved.mask.args(),
                count as u32,
                width as u32,
                hidden,
                saved.mask.drops(),
            );
        }
        let sums = over_blocks(&partial, blocks, 2 * hidden);
        let of = |nth: usize| {
            let (room, plan, entry_of) = self.inputs.plan(nth);
            let dims = [saved.sizes[nth], hidden];
            wanted[nth].then(|| room.table(&plan, entry_of, &of_sum, dims))
        };
        let norm = |nth| Some(slice(&sums, nth, hidden));
        [of(0), of(1), of(2), norm(0), norm(1)]
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn forward_kernel<F: Float>(
    words: &[f32],
    positions: &[f32],
    types: &[f32],
    weight: &[f32],
    bias: &[f32],
    entries: &[u32],
    keys: &[u32],
    output: &mut [f32],
    twins: &mut Sequence<Box<[F]>>,
    normalised: &mut [f32],
    scales: &mut [f32],
    mask: MaskArgs,
    eps: f32,
    first_entry: u32,
    lines: u32,
    tokens: u32,
    #[comptime] hidden: usize,
    #[comptime] drops: bool,
    #[comptime] has_twin: bool,
    #[define(F)] _factor: ElemType,
) {
    let (line, count) = (CUBE_POS, lines as usize);
    if line >= count {
        terminate!();
    }
    let row = line / tokens as usize;
    let first = line % tokens as usize * hidden;
    let entry = first_entry as usize + line;
    let word = entries[entry] as usize * hidden;
    let position = entries[entry + count] as usize * hidden;
    let kind = entries[entry + 2 * count] as usize * hidden;
    let mut shared = Shared::<[f32]>::new_slice(UNITS as usize);
    let mut values = Array::<f32>::new(comptime!(per_unit(hidden)));
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            let value = words[word + feature] + types[kind + feature];
            let value = value + positions[position + feature];
            values[at] = value;
        }
    }
    let scale = normalise(&mut values, &mut shared, eps, hidden);
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            let value = values[at];
            normalised[line * hidden + feature] = value;
            let mut result = value * weight[feature] + bias[feature];
            if comptime!(drops) {
                result *= mask_element(keys, &mask, row, first + feature);
            }
            output[line * hidden + feature] = result;
            write_twin::<F>(twins, line * hidden + feature, result, has_twin);
        }
    }
    if UNIT_POS == 0 {
        scales[line] = scale;
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn backward_kernel(
    gradient: &[f32],
    normalised: &[f32],
    scales: &[f32],
    weight: &[f32],
    keys: &[u32],
    of_sum: &mut [f32],
    partial: &mut [f32],
    mask: MaskArgs,
    lines: u32,
    tokens: u32,
    #[comptime] hidden: usize,
    #[comptime] drops: bool,
) {
    let block = CUBE_POS;
    if block * LINES >= lines as usize {
        terminate!();
    }
    let mut shared = Shared::<[f32]>::new_slice(UNITS as usize);
    let mut kept = Array::<f32>::new(comptime!(per_unit(hidden)));
    let mut of_weight = Array::<f32>::new(comptime!(per_unit(hidden)));
    let mut of_bias = Array::<f32>::new(comptime!(per_unit(hidden)));
    let width = comptime!(hidden as f32).runtime();
    for line in block * LINES..min((block + 1) * LINES, lines as usize) {
        let row = line / tokens as usize;
        let first = line % tokens as usize * hidden;
        let mut sum = 0.0f32;
        let mut along = 0.0f32;
        #[unroll]
        for at in 0..comptime!(per_unit(hidden)) {
            let feature = at * UNITS as usize + UNIT_POS as usize;
            if feature < hidden {
                let cell = line * hidden + feature;
                let mut of_output = gradient[cell];
                if comptime!(drops) {
                    of_output *= mask_element(keys, &mask, row, first + feature);
                }
                kept[at] = of_output;
                sum += of_output * weight[feature];
                along += of_output * weight[feature] * normalised[cell];
            }
        }
        let mean = cube_sum(sum, &mut shared, UNITS) / width;
        let along = cube_sum(along, &mut shared, UNITS) / width;
        let scale = scales[line];
        #[unroll]
        for at in 0..comptime!(per_unit(hidden)) {
            let feature = at * UNITS as usize + UNIT_POS as usize;
            if feature < hidden {
                let cell = line * hidden + feature;
                let normal = normalised[cell];
                of_sum[cell] = (kept[at] * weight[feature] - mean - normal * along) * scale;
                of_weight[at] += kept[at] * normal;
                of_bias[at] += kept[at];
            }
        }
    }
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            let start = block * 2 * hidden + feature;
            partial[start] = of_weight[at];
            partial[start + hidden] = of_bias[at];
        }
    }
}

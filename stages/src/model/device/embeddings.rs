//! The sum of word, position and type embeddings, its layer norm and dropout, in one pass.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::format::{element, factor_type};
use super::inputs::{Inputs, Layout};
use super::layer_norm;
use super::noise::{DeviceMask, MaskArgs, mask_element};
use super::norm::{Normalised, NormalisedArgs, norm_of_line};
use super::operation::{Operation, run};
use super::twins::{self, Twins, write_twin};
use super::{UNITS, contiguous, empty, grid, per_unit, values};
use crate::model::noise::Mask;
use crate::model::precision::Precision;

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
    norm: layer_norm::Saved,
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
        let mask = DeviceMask::new(self.mask.as_ref(), &weight);
        let normalised = Normalised::new(rows * width, weight);
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
                normalised.args(),
                normalised.weight.clone().into_buffer_arg(),
                bias.into_buffer_arg(),
                entries.buffer(),
                mask.keys(),
                output.clone().into_buffer_arg(),
                twins::argument(twin.as_ref()),
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
        let norm = layer_norm::Saved { normalised, mask, tokens: width };
        (output, Saved { norm, sizes })
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        wanted: [bool; 5],
    ) -> [Option<CubeTensor>; 5] {
        let [of_sum, of_weight, of_bias] = saved.norm.gradients(gradient);
        let hidden = of_weight.meta.shape()[0];
        let of = |nth: usize| {
            let (room, plan, entry_of) = self.inputs.plan(nth);
            let dims = [saved.sizes[nth], hidden];
            wanted[nth].then(|| room.table(&plan, entry_of, &of_sum, dims))
        };
        [of(0), of(1), of(2), Some(of_weight), Some(of_bias)]
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn forward_kernel<F: Float>(
    words: &[f32],
    positions: &[f32],
    types: &[f32],
    normalised: &mut NormalisedArgs,
    weight: &[f32],
    bias: &[f32],
    entries: &[u32],
    keys: &[u32],
    output: &mut [f32],
    twins: &mut Sequence<Box<[F]>>,
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
    norm_of_line(&mut values, &mut shared, line, normalised, weight, bias, eps, hidden);
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            let mut result = values[at];
            if comptime!(drops) {
                result *= mask_element(keys, &mask, row, first + feature);
            }
            output[line * hidden + feature] = result;
            write_twin::<F>(twins, line * hidden + feature, result, has_twin);
        }
    }
}

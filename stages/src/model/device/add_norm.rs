//! Bias, dropout, residual sum and layer norm (Ba et al. 2016) in one pass. The normalised lines
//! and their scales are saved for the backward pass; the dropout mask is recomputed.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::format::{element, factor_type};
use super::noise::{DeviceMask, MaskArgs, mask_element};
use super::norm::{Normalised, NormalisedArgs, gradient_of_line, norm_of_line, write_sums};
use super::operation::{Operation, run};
use super::sums::over_blocks;
use super::twins::{self, Twins, write_twin};
use super::{UNITS, contiguous, empty, grid, lines, per_unit, slice, values};
use crate::model::noise::Mask;
use crate::model::precision::Precision;

/// Lines per cube of the backward pass, and per partial sum of the gradients of the parameters.
const LINES: usize = 4;

/// `norm((branch + branch_bias) · mask + residual) · weight + bias`; `None` if the tensors are not
/// on a GPU.
///
/// Forward reads `branch` and `residual` once and writes the result, its twin and the normalised lines;
/// backward reads the gradient and the normalised lines once and writes the gradients of
/// `branch` and `residual`.
///
/// # Shapes
///
/// `branch`, `residual` and the result are `[rows, tokens, hidden]`, the others `[hidden]`.
pub fn add_norm(
    branch: &Tensor<3>,
    residual: &Tensor<3>,
    mask: Option<&Mask>,
    [branch_bias, weight, bias]: [&Tensor<1>; 3],
    eps: f64,
    precision: Precision,
    twins: &Twins,
) -> Option<Tensor<3>> {
    let inputs = values!(branch, branch_bias, residual, weight, bias)?;
    let tokens = branch.dims()[1];
    let (mask, twins) = (mask.cloned(), twins.clone());
    let operation = AddNorm { mask, tokens, eps: eps as f32, precision, twins };
    Some(run(operation, inputs).tensor())
}

#[derive(Clone, Debug)]
struct AddNorm {
    mask: Option<Mask>,
    /// Tokens per row of the mask.
    tokens: usize,
    eps: f32,
    precision: Precision,
    twins: Twins,
}

#[derive(Clone, Debug)]
struct Saved {
    normalised: Normalised,
    mask: DeviceMask,
}

impl Operation<5> for AddNorm {
    type Saved = Saved;

    fn forward(&self, inputs: [CubeTensor; 5]) -> (CubeTensor, Saved) {
        let [branch, branch_bias, residual, weight, bias] = inputs.map(contiguous);
        let [count, hidden] = lines(&branch);
        let shape = [count / self.tokens.max(1), self.tokens, hidden];
        let output = empty(&branch, shape, DType::F32);
        let twin = Twins::room_for(&output, self.precision);
        let mask = DeviceMask::new(self.mask.as_ref(), &weight);
        let normalised = Normalised::new(count, weight);
        // SAFETY: cubes beyond `lines` do nothing, and units beyond `hidden` neither; the tensors
        // have the shapes of `add_norm`.
        unsafe {
            forward_kernel::launch_unchecked(
                &branch.client,
                grid(count),
                CubeDim::new_1d(UNITS),
                branch.clone().into_buffer_arg(),
                branch_bias.into_buffer_arg(),
                residual.into_buffer_arg(),
                normalised.args(),
                normalised.weight.clone().into_buffer_arg(),
                bias.into_buffer_arg(),
                mask.keys(),
                output.clone().into_buffer_arg(),
                twins::argument(twin.as_ref()),
                mask.args(),
                self.eps,
                count as u32,
                self.tokens as u32,
                hidden,
                mask.drops(),
                twin.is_some(),
                element(factor_type(self.precision)),
            );
        }
        self.twins.keep(&output, twin);
        (output, Saved { normalised, mask })
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        _: [bool; 5],
    ) -> [Option<CubeTensor>; 5] {
        let gradient = contiguous(gradient);
        let [count, hidden] = lines(&gradient);
        let shape = [count / self.tokens.max(1), self.tokens, hidden];
        let of_branch = empty(&gradient, shape, factor_type(self.precision));
        let of_residual = empty(&gradient, shape, DType::F32);
        let blocks = count.div_ceil(LINES);
        // Of the bias of the branch, the weight and the bias.
        let partial = empty(&gradient, [blocks, 3 * hidden], DType::F32);
        // SAFETY: as in the forward pass.
        unsafe {
            backward_kernel::launch_unchecked(
                &gradient.client,
                grid(blocks),
                CubeDim::new_1d(UNITS),
                gradient.clone().into_buffer_arg(),
                saved.normalised.args(),
                saved.normalised.weight.into_buffer_arg(),
                saved.mask.keys(),
                of_branch.clone().into_buffer_arg(),
                of_residual.clone().into_buffer_arg(),
                partial.clone().into_buffer_arg(),
                saved.mask.args(),
                count as u32,
                self.tokens as u32,
                hidden,
                saved.mask.drops(),
                element(of_branch.dtype),
            );
        }
        let sums = over_blocks(&partial, blocks, 3 * hidden);
        let part = |index| Some(slice(&sums, index, hidden));
        [Some(of_branch), part(0), Some(of_residual), part(1), part(2)]
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn forward_kernel<F: Float>(
    branch: &[f32],
    branch_bias: &[f32],
    residual: &[f32],
    normalised: &mut NormalisedArgs,
    weight: &[f32],
    bias: &[f32],
    keys: &[u32],
    output: &mut [f32],
    twins: &mut Sequence<Box<[F]>>,
    mask: MaskArgs,
    eps: f32,
    lines: u32,
    tokens: u32,
    #[comptime] hidden: usize,
    #[comptime] drops: bool,
    #[comptime] has_twin: bool,
    #[define(F)] _factor: ElemType,
) {
    let line = CUBE_POS;
    if line >= lines as usize {
        terminate!();
    }
    let row = line / tokens as usize;
    let first = line % tokens as usize * hidden;
    let mut shared = Shared::<[f32]>::new_slice(UNITS as usize);
    let mut values = Array::<f32>::new(comptime!(per_unit(hidden)));
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            let mut value = branch[line * hidden + feature] + branch_bias[feature];
            if comptime!(drops) {
                value *= mask_element(keys, &mask, row, first + feature);
            }
            value += residual[line * hidden + feature];
            values[at] = value;
        }
    }
    norm_of_line(&mut values, &mut shared, line, normalised, weight, bias, eps, hidden);
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            let result = values[at];
            output[line * hidden + feature] = result;
            write_twin::<F>(twins, line * hidden + feature, result, has_twin);
        }
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn backward_kernel<F: Float>(
    gradient: &[f32],
    normalised: &NormalisedArgs,
    weight: &[f32],
    keys: &[u32],
    of_branch: &mut [F],
    of_residual: &mut [f32],
    partial: &mut [f32],
    mask: MaskArgs,
    lines: u32,
    tokens: u32,
    #[comptime] hidden: usize,
    #[comptime] drops: bool,
    #[define(F)] _factor: ElemType,
) {
    let block = CUBE_POS;
    if block * LINES >= lines as usize {
        terminate!();
    }
    let mut shared = Shared::<[f32]>::new_slice(UNITS as usize);
    let mut values = Array::<f32>::new(comptime!(per_unit(hidden)));
    let mut of_branch_bias = Array::<f32>::new(comptime!(per_unit(hidden)));
    let mut of_weight = Array::<f32>::new(comptime!(per_unit(hidden)));
    let mut of_bias = Array::<f32>::new(comptime!(per_unit(hidden)));
    for line in block * LINES..min((block + 1) * LINES, lines as usize) {
        let row = line / tokens as usize;
        let first = line % tokens as usize * hidden;
        #[unroll]
        for at in 0..comptime!(per_unit(hidden)) {
            let feature = at * UNITS as usize + UNIT_POS as usize;
            if feature < hidden {
                values[at] = gradient[line * hidden + feature];
            }
        }
        gradient_of_line(
            &mut values,
            &mut of_weight,
            &mut of_bias,
            &mut shared,
            line,
            normalised,
            weight,
            hidden,
        );
        #[unroll]
        for at in 0..comptime!(per_unit(hidden)) {
            let feature = at * UNITS as usize + UNIT_POS as usize;
            if feature < hidden {
                let cell = line * hidden + feature;
                let of_sum = values[at];
                let mut of_dropped = of_sum;
                if comptime!(drops) {
                    of_dropped *= mask_element(keys, &mask, row, first + feature);
                }
                of_residual[cell] = of_sum;
                of_branch[cell] = F::cast_from(of_dropped);
                of_branch_bias[at] += of_dropped;
            }
        }
    }
    let start = block * 3 * hidden;
    write_sums(&of_branch_bias, partial, start, hidden);
    write_sums(&of_weight, partial, start + hidden, hidden);
    write_sums(&of_bias, partial, start + 2 * hidden, hidden);
}

//! Layer norm (Ba et al. 2016) alone, in one pass, and its backward pass, also with dropout after it. The
//! normalised lines and their scales are saved for that.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::format::{element, factor_type};
use super::noise::{DeviceMask, MaskArgs, mask_element};
use super::norm::{Normalised, NormalisedArgs, gradient_of_line, norm_of_line, write_sums};
use super::operation::{Operation, run};
use super::sums::over_blocks;
use super::{UNITS, contiguous, empty, grid, like, lines, per_unit, reshaped, slice, values};
use crate::model::precision::Precision;

/// Lines per cube of the backward pass, and per partial sum of the gradients of the parameters.
const LINES: usize = 4;

/// `norm(input) · weight + bias`, in the format of the factors of the next product. `None` if the tensors
/// are not on a GPU.
///
/// # Shapes
///
/// `input` and the result are `[rows, tokens, hidden]`, the others `[hidden]`.
pub fn layer_norm(
    input: &Tensor<3>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    eps: f64,
    precision: Precision,
) -> Option<Tensor<3>> {
    let operation = LayerNorm { eps: eps as f32, precision };
    Some(run(operation, values!(input, weight, bias)?).tensor())
}

#[derive(Clone, Debug)]
struct LayerNorm {
    eps: f32,
    precision: Precision,
}

/// What the backward pass needs of a norm, and of the dropout after it.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    pub(super) normalised: Normalised,
    pub(super) mask: DeviceMask,
    /// Lines per row of the mask.
    pub(super) tokens: usize,
}

impl Saved {
    /// The gradients of the input, `[lines, hidden]`, of the weight and of the bias.
    pub(super) fn gradients(self, gradient: CubeTensor) -> [CubeTensor; 3] {
        let gradient = contiguous(gradient);
        let [count, hidden] = lines(&gradient);
        let of_input = empty(&gradient, [count, hidden], DType::F32);
        let blocks = count.div_ceil(LINES);
        // Of the weight, then of the bias.
        let partial = empty(&gradient, [blocks, 2 * hidden], DType::F32);
        let format = element(gradient.dtype);
        // SAFETY: blocks beyond the lines do nothing, and units beyond `hidden` neither; the tensors have
        // these sizes.
        unsafe {
            backward_kernel::launch_unchecked(
                &of_input.client,
                grid(blocks),
                CubeDim::new_1d(UNITS),
                gradient.into_buffer_arg(),
                self.normalised.args(),
                self.normalised.weight.into_buffer_arg(),
                self.mask.keys(),
                of_input.clone().into_buffer_arg(),
                partial.clone().into_buffer_arg(),
                self.mask.args(),
                count as u32,
                self.tokens as u32,
                hidden,
                self.mask.drops(),
                format,
            );
        }
        let sums = over_blocks(&partial, blocks, 2 * hidden);
        [of_input, slice(&sums, 0, hidden), slice(&sums, 1, hidden)]
    }
}

impl Operation<3> for LayerNorm {
    type Saved = Saved;

    fn forward(&self, inputs: [CubeTensor; 3]) -> (CubeTensor, Saved) {
        let [input, weight, bias] = inputs.map(contiguous);
        let [count, hidden] = lines(&input);
        let output = like(&input, factor_type(self.precision));
        let mask = DeviceMask::new(None, &weight);
        let normalised = Normalised::new(count, weight);
        // SAFETY: cubes beyond the lines do nothing, and units beyond `hidden` neither; the tensors have
        // the shapes of `layer_norm`.
        unsafe {
            forward_kernel::launch_unchecked(
                &input.client,
                grid(count),
                CubeDim::new_1d(UNITS),
                input.clone().into_buffer_arg(),
                normalised.args(),
                normalised.weight.clone().into_buffer_arg(),
                bias.into_buffer_arg(),
                output.clone().into_buffer_arg(),
                self.eps,
                count as u32,
                hidden,
                element(output.dtype),
            );
        }
        (output, Saved { normalised, mask, tokens: 1 })
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        _: [bool; 3],
    ) -> [Option<CubeTensor>; 3] {
        let shape = gradient.shape();
        let [of_input, of_weight, of_bias] = saved.gradients(gradient);
        let of_input = reshaped(of_input, [shape[0], shape[1], shape[2]]);
        [Some(of_input), Some(of_weight), Some(of_bias)]
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn forward_kernel<F: Float>(
    input: &[f32],
    normalised: &mut NormalisedArgs,
    weight: &[f32],
    bias: &[f32],
    output: &mut [F],
    eps: f32,
    lines: u32,
    #[comptime] hidden: usize,
    #[define(F)] _factor: ElemType,
) {
    let line = CUBE_POS;
    if line >= lines as usize {
        terminate!();
    }
    let mut shared = Shared::<[f32]>::new_slice(UNITS as usize);
    let mut values = Array::<f32>::new(comptime!(per_unit(hidden)));
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            values[at] = input[line * hidden + feature];
        }
    }
    norm_of_line(&mut values, &mut shared, line, normalised, weight, bias, eps, hidden);
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            output[line * hidden + feature] = F::cast_from(values[at]);
        }
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn backward_kernel<F: Float>(
    gradient: &[F],
    normalised: &NormalisedArgs,
    weight: &[f32],
    keys: &[u32],
    of_input: &mut [f32],
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
    let mut of_weight = Array::<f32>::new(comptime!(per_unit(hidden)));
    let mut of_bias = Array::<f32>::new(comptime!(per_unit(hidden)));
    for line in block * LINES..min((block + 1) * LINES, lines as usize) {
        let row = line / tokens as usize;
        let first = line % tokens as usize * hidden;
        #[unroll]
        for at in 0..comptime!(per_unit(hidden)) {
            let feature = at * UNITS as usize + UNIT_POS as usize;
            if feature < hidden {
                let mut of_output = f32::cast_from(gradient[line * hidden + feature]);
                if comptime!(drops) {
                    of_output *= mask_element(keys, &mask, row, first + feature);
                }
                values[at] = of_output;
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
                of_input[line * hidden + feature] = values[at];
            }
        }
    }
    let start = block * 2 * hidden;
    write_sums(&of_weight, partial, start, hidden);
    write_sums(&of_bias, partial, start + hidden, hidden);
}

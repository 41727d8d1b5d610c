//! Bias and exact GELU (Hendrycks & Gimpel 2016) in one pass.

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::format::{element, factor_type};
use super::operation::{Operation, run};
use super::sums::over_blocks;
use super::{UNITS, contiguous, empty, grid, like, lines, values};
use crate::model::precision::Precision;

/// Lines per cube, and per partial sum of the gradient of the bias.
const LINES: usize = 16;

/// `gelu(input + bias)`, in the format of the factors of the next product. `None` if the tensors
/// are not on a GPU.
///
/// Forward reads `input` once and writes the result; backward reads `input` and the gradient once
/// and writes the gradient of `input`, in the format of factors.
///
/// # Shapes
///
/// `input` and the result are `[…, features]`, `bias` is `[features]`.
pub fn bias_gelu<const D: usize>(
    input: &Tensor<D>,
    bias: &Tensor<1>,
    precision: Precision,
) -> Option<Tensor<D>> {
    Some(run(BiasGelu { precision }, values!(input, bias)?).tensor())
}

#[derive(Clone, Debug)]
struct BiasGelu {
    precision: Precision,
}

impl Operation<2> for BiasGelu {
    /// The input and the bias.
    type Saved = [CubeTensor; 2];

    fn forward(&self, inputs: [CubeTensor; 2]) -> (CubeTensor, [CubeTensor; 2]) {
        let [input, bias] = inputs.map(contiguous);
        let output = like(&input, factor_type(self.precision));
        let [count, width] = lines(&input);
        let blocks = count.div_ceil(LINES);
        // SAFETY: units beyond the columns do nothing, and the tensors have these sizes.
        unsafe {
            forward_kernel::launch_unchecked(
                &input.client,
                grid(blocks * width.div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                input.clone().into_buffer_arg(),
                bias.clone().into_buffer_arg(),
                output.clone().into_buffer_arg(),
                count as u32,
                width as u32,
                element(output.dtype),
            );
        }
        (output, [input, bias])
    }

    fn backward(
        &self,
        [input, bias]: [CubeTensor; 2],
        gradient: CubeTensor,
        _: [bool; 2],
    ) -> [Option<CubeTensor>; 2] {
        let gradient = contiguous(gradient);
        let of_input = like(&input, factor_type(self.precision));
        let [count, width] = lines(&input);
        let blocks = count.div_ceil(LINES);
        let partial = empty(&input, [blocks, width], DType::F32);
        // SAFETY: as in the forward pass.
        unsafe {
            backward_kernel::launch_unchecked(
                &input.client,
                grid(blocks * width.div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                input.clone().into_buffer_arg(),
                bias.into_buffer_arg(),
                gradient.into_buffer_arg(),
                of_input.clone().into_buffer_arg(),
                partial.clone().into_buffer_arg(),
                count as u32,
                width as u32,
                element(of_input.dtype),
            );
        }
        [Some(of_input), Some(over_blocks(&partial, blocks, width))]
    }
}

#[cube(launch_unchecked)]
fn forward_kernel<F: Float>(
    input: &[f32],
    bias: &[f32],
    output: &mut [F],
    lines: u32,
    width: u32,
    #[define(F)] _factor: ElemType,
) {
    let (width, lines) = (width as usize, lines as usize);
    let across = width.div_ceil(UNITS as usize);
    let block = CUBE_POS / across;
    let column = CUBE_POS % across * UNITS as usize + UNIT_POS as usize;
    if column < width {
        let bias = bias[column];
        for line in block * LINES..min((block + 1) * LINES, lines) {
            let value = input[line * width + column] + bias;
            output[line * width + column] = F::cast_from(value * below(value));
        }
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn backward_kernel<F: Float>(
    input: &[f32],
    bias: &[f32],
    gradient: &[f32],
    of_input: &mut [F],
    partial: &mut [f32],
    lines: u32,
    width: u32,
    #[define(F)] _factor: ElemType,
) {
    let (width, lines) = (width as usize, lines as usize);
    let across = width.div_ceil(UNITS as usize);
    let block = CUBE_POS / across;
    let column = CUBE_POS % across * UNITS as usize + UNIT_POS as usize;
    if block * LINES < lines && column < width {
        let bias = bias[column];
        let mut sum = 0.0f32;
        for line in block * LINES..min((block + 1) * LINES, lines) {
            let value = input[line * width + column] + bias;
            let of_value = gradient[line * width + column] * slope(value);
            of_input[line * width + column] = F::cast_from(of_value);
            sum += of_value;
        }
        partial[block * width + column] = sum;
    }
}

/// The normal distribution's probability of less than `value`.
#[cube]
pub(super) fn below(value: f32) -> f32 {
    (Erf::erf(value * core::f32::consts::FRAC_1_SQRT_2) + 1.0f32) * 0.5f32
}

/// The derivative of GELU.
#[cube]
pub(super) fn slope(value: f32) -> f32 {
    // The density of the normal distribution at `value`.
    let density = (value * value * -0.5f32).exp() * 0.398_942_3f32;
    below(value) + value * density
}

//! The exact GELU of one half of the features times the other half (GEGLU, Shazeer 2020) and dropout, in
//! one pass.

use burn::backend::TensorMetadata;
use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::format::{element, factor_type};
use super::gelu::{below, slope};
use super::noise::{DeviceMask, MaskArgs, mask_element};
use super::operation::{Operation, run};
use super::{UNITS, contiguous, empty, grid, like, lines, values};
use crate::model::noise::Mask;
use crate::model::precision::Precision;

/// `gelu(input[..features]) · input[features..] · mask`, in the format of the factors of the next product;
/// so is the gradient of the input. `None` if the tensor is not on a GPU.
///
/// # Shapes
///
/// `[rows, tokens, 2 · features]` to `[rows, tokens, features]`.
pub fn gated_gelu(
    input: &Tensor<3>,
    mask: Option<&Mask>,
    precision: Precision,
) -> Option<Tensor<3>> {
    Some(run(GatedGelu { mask: mask.cloned(), precision }, values!(input)?).tensor())
}

#[derive(Clone, Debug)]
struct GatedGelu {
    mask: Option<Mask>,
    precision: Precision,
}

impl Operation<1> for GatedGelu {
    /// The input and the mask.
    type Saved = (CubeTensor, DeviceMask);

    fn forward(&self, [input]: [CubeTensor; 1]) -> (CubeTensor, Self::Saved) {
        let input = contiguous(input);
        let shape = input.shape();
        let format = factor_type(self.precision);
        let output = empty(&input, [shape[0], shape[1], shape[2] / 2], format);
        let [count, width] = lines(&output);
        let mask = DeviceMask::new(self.mask.as_ref(), &input);
        // SAFETY: units beyond the elements do nothing.
        unsafe {
            forward_kernel::launch_unchecked(
                &input.client,
                grid((count * width).div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                input.clone().into_buffer_arg(),
                mask.keys(),
                output.clone().into_buffer_arg(),
                mask.args(),
                (count * width) as u32,
                shape[1] as u32,
                width as u32,
                mask.drops(),
                element(format),
            );
        }
        (output, (input, mask))
    }

    fn backward(
        &self,
        (input, mask): Self::Saved,
        gradient: CubeTensor,
        _: [bool; 1],
    ) -> [Option<CubeTensor>; 1] {
        let gradient = contiguous(gradient);
        let format = factor_type(self.precision);
        let of_input = like(&input, format);
        let [count, width] = lines(&gradient);
        let tokens = gradient.shape()[1];
        // SAFETY: as in the forward pass.
        unsafe {
            backward_kernel::launch_unchecked(
                &input.client,
                grid((count * width).div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                input.clone().into_buffer_arg(),
                gradient.into_buffer_arg(),
                mask.keys(),
                of_input.clone().into_buffer_arg(),
                mask.args(),
                (count * width) as u32,
                tokens as u32,
                width as u32,
                mask.drops(),
                element(format),
            );
        }
        [Some(of_input)]
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn forward_kernel<F: Float>(
    input: &[f32],
    keys: &[u32],
    output: &mut [F],
    mask: MaskArgs,
    count: u32,
    tokens: u32,
    width: u32,
    #[comptime] drops: bool,
    #[define(F)] _factor: ElemType,
) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    if at < count as usize {
        let width = width as usize;
        let first = at / width * 2 * width + at % width;
        let value = input[first];
        let mut result = value * below(value) * input[first + width];
        if comptime!(drops) {
            let of_row = tokens as usize * width;
            result *= mask_element(keys, &mask, at / of_row, at % of_row);
        }
        output[at] = F::cast_from(result);
    }
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn backward_kernel<F: Float>(
    input: &[f32],
    gradient: &[f32],
    keys: &[u32],
    of_input: &mut [F],
    mask: MaskArgs,
    count: u32,
    tokens: u32,
    width: u32,
    #[comptime] drops: bool,
    #[define(F)] _factor: ElemType,
) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    if at < count as usize {
        let width = width as usize;
        let first = at / width * 2 * width + at % width;
        let (value, gate) = (input[first], input[first + width]);
        let mut gradient = gradient[at];
        if comptime!(drops) {
            let of_row = tokens as usize * width;
            gradient *= mask_element(keys, &mask, at / of_row, at % of_row);
        }
        of_input[first] = F::cast_from(gradient * gate * slope(value));
        of_input[first + width] = F::cast_from(gradient * (value * below(value)));
    }
}

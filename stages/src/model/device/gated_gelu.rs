//! The exact GELU of one half of the features times the other half, in one pass (GEGLU, Shazeer 2020).

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::gelu::{below, slope};
use super::operation::{Operation, run};
use super::{UNITS, contiguous, empty, grid, like, lines, values};

/// `gelu(input[..features]) · input[features..]`; `None` if the tensor is not on a GPU.
///
/// # Shapes
///
/// `[rows, tokens, 2 · features]` to `[rows, tokens, features]`.
pub fn gated_gelu(input: &Tensor<3>) -> Option<Tensor<3>> {
    Some(run(GatedGelu, values!(input)?).tensor())
}

#[derive(Clone, Debug)]
struct GatedGelu;

impl Operation<1> for GatedGelu {
    /// The input.
    type Saved = CubeTensor;

    fn forward(&self, [input]: [CubeTensor; 1]) -> (CubeTensor, CubeTensor) {
        let input = contiguous(input);
        let shape = input.shape();
        let output = empty(&input, [shape[0], shape[1], shape[2] / 2], DType::F32);
        let [count, width] = lines(&output);
        // SAFETY: units beyond the elements do nothing.
        unsafe {
            forward_kernel::launch_unchecked(
                &input.client,
                grid((count * width).div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                input.clone().into_buffer_arg(),
                output.clone().into_buffer_arg(),
                (count * width) as u32,
                width as u32,
            );
        }
        (output, input)
    }

    fn backward(
        &self,
        input: CubeTensor,
        gradient: CubeTensor,
        _: [bool; 1],
    ) -> [Option<CubeTensor>; 1] {
        let gradient = contiguous(gradient);
        let of_input = like(&input, DType::F32);
        let [count, width] = lines(&gradient);
        // SAFETY: as in the forward pass.
        unsafe {
            backward_kernel::launch_unchecked(
                &input.client,
                grid((count * width).div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                input.clone().into_buffer_arg(),
                gradient.into_buffer_arg(),
                of_input.clone().into_buffer_arg(),
                (count * width) as u32,
                width as u32,
            );
        }
        [Some(of_input)]
    }
}

#[cube(launch_unchecked)]
fn forward_kernel(input: &[f32], output: &mut [f32], count: u32, width: u32) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    if at < count as usize {
        let width = width as usize;
        let first = at / width * 2 * width + at % width;
        let value = input[first];
        output[at] = value * below(value) * input[first + width];
    }
}

#[cube(launch_unchecked)]
fn backward_kernel(input: &[f32], gradient: &[f32], of_input: &mut [f32], count: u32, width: u32) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    if at < count as usize {
        let width = width as usize;
        let first = at / width * 2 * width + at % width;
        let (value, gate, gradient) = (input[first], input[first + width], gradient[at]);
        of_input[first] = gradient * gate * slope(value);
        of_input[first + width] = gradient * (value * below(value));
    }
}

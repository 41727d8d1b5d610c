//! Dropout alone, where no other operation takes it along (Srivastava et al. 2014).

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::noise::{DeviceMask, MaskArgs, mask_element};
use super::operation::{Operation, run};
use super::{UNITS, contiguous, grid, like, lines, values};
use crate::model::noise::Mask;

/// Multiplies by the mask; `None` if the tensor is not on a GPU.
///
/// # Shapes
///
/// `states` and the result are `[rows, tokens, features]`.
pub fn dropout(states: &Tensor<3>, mask: &Mask) -> Option<Tensor<3>> {
    let [states_value] = values!(states)?;
    let [_, tokens, features] = states.dims();
    let operation = Dropout { mask: mask.clone(), of_row: tokens * features };
    Some(run(operation, [states_value]).tensor())
}

#[derive(Clone, Debug)]
struct Dropout {
    mask: Mask,
    /// Elements of each row.
    of_row: usize,
}

impl Dropout {
    fn apply(&self, states: CubeTensor, mask: &DeviceMask) -> CubeTensor {
        let states = contiguous(states);
        let output = like(&states, DType::F32);
        let [lines, width] = lines(&states);
        let count = lines * width;
        // SAFETY: units beyond the elements do nothing.
        unsafe {
            dropout_kernel::launch_unchecked(
                &states.client,
                grid(count.div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                states.clone().into_buffer_arg(),
                mask.keys(),
                output.clone().into_buffer_arg(),
                mask.args(),
                count as u32,
                self.of_row as u32,
            );
        }
        output
    }
}

impl Operation<1> for Dropout {
    type Saved = DeviceMask;

    fn forward(&self, [states]: [CubeTensor; 1]) -> (CubeTensor, DeviceMask) {
        let mask = DeviceMask::new(Some(&self.mask), &states);
        (self.apply(states, &mask), mask)
    }

    fn backward(
        &self,
        mask: DeviceMask,
        gradient: CubeTensor,
        _: [bool; 1],
    ) -> [Option<CubeTensor>; 1] {
        [Some(self.apply(gradient, &mask))]
    }
}

#[cube(launch_unchecked)]
fn dropout_kernel(
    states: &[f32],
    keys: &[u32],
    output: &mut [f32],
    mask: MaskArgs,
    count: u32,
    of_row: u32,
) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    if at < count as usize {
        let (row, index) = (at / of_row as usize, at % of_row as usize);
        output[at] = states[at] * mask_element(keys, &mask, row, index);
    }
}

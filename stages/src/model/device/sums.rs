//! Sums in a fixed order.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{UNITS, empty, grid};

/// The sum of `value` over the units of a cube, as a tree. `shared` has an element per unit.
#[cube]
pub(super) fn cube_sum(value: f32, shared: &mut Shared<[f32]>, #[comptime] units: u32) -> f32 {
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    let mut half = comptime!(units as usize / 2).runtime();
    while half > 0 {
        if unit < half {
            shared[unit] = shared[unit] + shared[unit + half];
        }
        sync_cube();
        half /= 2;
    }
    let total = shared[0];
    sync_cube();
    total
}

/// The sums of the columns of `[blocks, width]`, in the order of the blocks.
pub(super) fn over_blocks(partial: &CubeTensor, blocks: usize, width: usize) -> CubeTensor {
    let sums = empty(partial, [width], DType::F32);
    // SAFETY: units beyond `width` do nothing, and `partial` has `blocks * width` elements.
    unsafe {
        over_blocks_kernel::launch_unchecked(
            &partial.client,
            grid(width.div_ceil(UNITS as usize)),
            CubeDim::new_1d(UNITS),
            partial.clone().into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            blocks as u32,
            width as u32,
        );
    }
    sums
}

#[cube(launch_unchecked)]
fn over_blocks_kernel(partial: &[f32], sums: &mut [f32], blocks: u32, width: u32) {
    let column = ABSOLUTE_POS as usize;
    if column < width as usize {
        let mut sum = 0.0f32;
        for block in 0..blocks as usize {
            sum += partial[block * width as usize + column];
        }
        sums[column] = sum;
    }
}

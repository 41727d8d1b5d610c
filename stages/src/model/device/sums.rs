//! Sums in a fixed order.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{empty, grid};

/// The sum of `value` over a cube, or over every `units` of its units that follow one another, as a tree.
/// `shared` has an element per unit.
#[cube]
pub(super) fn sum_of_units(value: f32, shared: &mut Shared<[f32]>, #[comptime] units: u32) -> f32 {
    tree(value, shared, units, false)
}

/// The highest `value`, likewise.
#[cube]
pub(super) fn highest_of_units(
    value: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] units: u32,
) -> f32 {
    tree(value, shared, units, true)
}

#[cube]
fn tree(
    value: f32,
    shared: &mut Shared<[f32]>,
    #[comptime] units: u32,
    #[comptime] is_highest: bool,
) -> f32 {
    let unit = UNIT_POS as usize;
    let within = unit % comptime!(units as usize);
    shared[unit] = value;
    sync_cube();
    let mut half = comptime!(units as usize / 2).runtime();
    while half > 0 {
        if within < half {
            let (one, other) = (shared[unit], shared[unit + half]);
            if comptime!(is_highest) {
                shared[unit] = max(one, other);
            } else {
                shared[unit] = one + other;
            }
        }
        sync_cube();
        half /= 2;
    }
    let found = shared[unit - within];
    sync_cube();
    found
}

/// The sum of the elements `first`, `first + step` and so on before `end`. Four are read at a time,
/// so that a unit does not wait for each.
#[cube]
pub(super) fn strided_sum(from: &[f32], first: usize, step: usize, end: usize) -> f32 {
    let mut sum = 0.0f32;
    let mut at = first;
    while at + 3 * step < end {
        let one = from[at];
        let two = from[at + step];
        let three = from[at + 2 * step];
        let four = from[at + 3 * step];
        sum += (one + two) + (three + four);
        at += 4 * step;
    }
    while at < end {
        sum += from[at];
        at += step;
    }
    sum
}

/// Columns per cube, and units for each.
const COLUMNS: usize = 16;
const BESIDE: usize = 16;

/// The sums of the columns of `[blocks, width]`.
pub(super) fn over_blocks(partial: &CubeTensor, blocks: usize, width: usize) -> CubeTensor {
    let sums = empty(partial, [width], DType::F32);
    // SAFETY: units beyond `width` do nothing, and `partial` has `blocks * width` elements.
    unsafe {
        over_blocks_kernel::launch_unchecked(
            &partial.client,
            grid(width.div_ceil(COLUMNS)),
            CubeDim::new_1d((COLUMNS * BESIDE) as u32),
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
    let mut shared = Shared::<[f32]>::new_slice(COLUMNS * BESIDE);
    let (unit, width) = (UNIT_POS as usize, width as usize);
    let first_block = unit / COLUMNS;
    let column = CUBE_POS * COLUMNS + unit % COLUMNS;
    let mut sum = 0.0f32;
    if column < width {
        let first = first_block * width + column;
        sum = strided_sum(partial, first, BESIDE * width, blocks as usize * width);
    }
    shared[unit] = sum;
    sync_cube();
    if first_block == 0 && column < width {
        let mut total = 0.0f32;
        for nth in 0..BESIDE {
            total += shared[nth * COLUMNS + unit];
        }
        sums[column] = total;
    }
}

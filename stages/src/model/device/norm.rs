//! Layer norm of one line (Ba et al. 2016), which the units of a cube hold together.

use cubecl::prelude::*;

use super::sums::cube_sum;
use super::{UNITS, per_unit};

/// Turns a line into one of mean 0 and variance 1, in place: element `at` of a unit is feature
/// `at * UNITS + UNIT_POS`. Returns `1 / sqrt(variance + eps)`. `shared` has an element per unit.
#[cube]
pub(super) fn normalise(
    values: &mut Array<f32>,
    shared: &mut Shared<[f32]>,
    eps: f32,
    #[comptime] hidden: usize,
) -> f32 {
    let mut sum = 0.0f32;
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        if at * (UNITS as usize) + (UNIT_POS as usize) < hidden {
            sum += values[at];
        }
    }
    let count = comptime!(hidden as f32).runtime();
    let mean = cube_sum(sum, shared, UNITS) / count;
    let mut squares = 0.0f32;
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        if at * (UNITS as usize) + (UNIT_POS as usize) < hidden {
            let value = values[at] - mean;
            squares += value * value;
        }
    }
    let variance = cube_sum(squares, shared, UNITS) / count;
    let scale = 1.0f32 / (variance + eps).sqrt();
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        values[at] = (values[at] - mean) * scale;
    }
    scale
}

//! Layer norm of one line (Ba et al. 2016), which the units of a cube hold together.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::sums::sum_of_units;
use super::{UNITS, empty, per_unit};

/// What the backward pass needs of a norm.
#[derive(Clone, Debug)]
pub(super) struct Normalised {
    /// Each line has mean 0 and variance 1.
    lines: CubeTensor,
    /// `1 / sqrt(variance + eps)` of each line.
    scales: CubeTensor,
    /// `[hidden]`
    pub(super) weight: CubeTensor,
}

impl Normalised {
    /// Room for `count` lines.
    pub(super) fn new(count: usize, weight: CubeTensor) -> Normalised {
        let hidden = weight.meta.shape()[0];
        let lines = empty(&weight, [count, hidden], DType::F32);
        let scales = empty(&weight, [count], DType::F32);
        Normalised { lines, scales, weight }
    }

    pub(super) fn args(&self) -> NormalisedArgsLaunch {
        NormalisedArgsLaunch::new(
            self.lines.clone().into_buffer_arg(),
            self.scales.clone().into_buffer_arg(),
        )
    }
}

/// The same in kernels, but for the weight, which none of them writes.
#[derive(CubeLaunch, CubeType)]
pub(super) struct NormalisedArgs {
    lines: Box<[f32]>,
    scales: Box<[f32]>,
}

/// Replaces a line by `norm(line) · weight + bias`: element `at` of a unit is feature
/// `at * UNITS + UNIT_POS`. Writes the line of mean 0 and variance 1, and `1 / sqrt(variance + eps)`, for
/// the backward pass. `shared` has an element per unit.
#[cube]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
pub(super) fn norm_of_line(
    values: &mut Array<f32>,
    shared: &mut Shared<[f32]>,
    line: usize,
    normalised: &mut NormalisedArgs,
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    #[comptime] hidden: usize,
) {
    let scale = normalise(values, shared, eps, hidden);
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            let value = values[at];
            normalised.lines[line * hidden + feature] = value;
            values[at] = value * weight[feature] + bias[feature];
        }
    }
    if UNIT_POS == 0 {
        normalised.scales[line] = scale;
    }
}

/// Turns a line into one of mean 0 and variance 1. Returns `1 / sqrt(variance + eps)`.
#[cube]
fn normalise(
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
    let mean = sum_of_units(sum, shared, UNITS) / count;
    let mut squares = 0.0f32;
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        if at * (UNITS as usize) + (UNIT_POS as usize) < hidden {
            let value = values[at] - mean;
            squares += value * value;
        }
    }
    let variance = sum_of_units(squares, shared, UNITS) / count;
    let scale = 1.0f32 / (variance + eps).sqrt();
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        values[at] = (values[at] - mean) * scale;
    }
    scale
}

/// Replaces the gradient of a line after norm by that of the line before, and adds to the gradients of
/// the weight and of the bias.
#[cube]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
pub(super) fn gradient_of_line(
    values: &mut Array<f32>,
    of_weight: &mut Array<f32>,
    of_bias: &mut Array<f32>,
    shared: &mut Shared<[f32]>,
    line: usize,
    normalised: &NormalisedArgs,
    weight: &[f32],
    #[comptime] hidden: usize,
) {
    let count = comptime!(hidden as f32).runtime();
    let mut sum = 0.0f32;
    let mut along = 0.0f32;
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            let scaled = values[at] * weight[feature];
            sum += scaled;
            along += scaled * normalised.lines[line * hidden + feature];
        }
    }
    let mean = sum_of_units(sum, shared, UNITS) / count;
    let along = sum_of_units(along, shared, UNITS) / count;
    let scale = normalised.scales[line];
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            let (gradient, normal) = (values[at], normalised.lines[line * hidden + feature]);
            values[at] = (gradient * weight[feature] - mean - normal * along) * scale;
            of_weight[at] += gradient * normal;
            of_bias[at] += gradient;
        }
    }
}

/// Writes the sums of a block of lines from `start` on.
#[cube]
pub(super) fn write_sums(
    sums: &Array<f32>,
    partial: &mut [f32],
    start: usize,
    #[comptime] hidden: usize,
) {
    #[unroll]
    for at in 0..comptime!(per_unit(hidden)) {
        let feature = at * UNITS as usize + UNIT_POS as usize;
        if feature < hidden {
            partial[start + feature] = sums[at];
        }
    }
}

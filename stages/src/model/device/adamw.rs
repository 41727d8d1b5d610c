//! Clipping by the norm of all gradients and AdamW (Loshchilov & Hutter 2019), for many tensors in
//! one launch. The norm stays on the device, where the update reads it.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::format::element;
use super::sums::{strided_sum, sum_of_units};
use super::{UNITS, contiguous, empty, grid, is_turned, reshaped, transposed, zeros};

/// Elements per cube.
const CHUNK: usize = 64 * UNITS as usize;
/// The most parameters of one launch.
const PARAMETERS: usize = 32;
/// Units of the cube that adds up the partial sums, as many as every GPU has.
const ADDERS: u32 = 256;

/// A parameter with its gradient and moments. All have the same order of storage, and so has its copy.
#[derive(Clone, Debug)]
pub struct Updated {
    pub value: CubeTensor,
    pub gradient: CubeTensor,
    pub first: CubeTensor,
    pub second: CubeTensor,
    /// The element of [`Copies::packed`](super::weights::Copies) at which the parameter's copy starts, if it has one.
    pub copy: Option<usize>,
    /// `1 - lr · weight_decay`
    pub keep: f32,
    /// `lr / (1 - beta1^t)`
    pub rate: f32,
}

/// The numbers that are the same for all parameters of a step.
#[derive(Clone, Copy, Debug)]
pub struct Constants {
    pub beta1: f32,
    pub beta2: f32,
    pub epsilon: f32,
    /// `1 / sqrt(1 - beta2^t)`
    pub second_scale: f32,
    /// The largest norm of all gradients together; 0 means no limit.
    pub largest: f32,
    /// Nothing is updated by gradients of a larger norm after clipping.
    pub refused: f32,
}

/// A gradient in the order of storage of its parameter.
pub fn in_order_of(parameter: &CubeTensor, gradient: CubeTensor) -> CubeTensor {
    if parameter.meta.shape().num_dims() == 2 && is_turned(parameter) {
        return transposed(&contiguous(transposed(&gradient)));
    }
    contiguous(gradient)
}

/// The tensor, or a copy in the same order of storage if that has gaps, or if something else owns it as
/// well, such as the best model so far: the update must not change it there.
pub fn owned(tensor: CubeTensor) -> CubeTensor {
    if tensor.meta.shape().num_dims() == 2 && is_turned(&tensor) {
        let stored = transposed(&tensor);
        // Otherwise the view would own it as well.
        drop(tensor);
        return transposed(&owned(stored));
    }
    match tensor.is_contiguous() {
        true if tensor.can_mut() => tensor,
        true => contiguous(tensor.copy()),
        false => contiguous(tensor),
    }
}

/// Zeros in the same order of storage.
pub fn zeros_like(tensor: &CubeTensor) -> CubeTensor {
    let shape = tensor.meta.shape();
    if shape.num_dims() == 2 && is_turned(tensor) {
        return transposed(&zeros(tensor, [shape[1], shape[0]].into()));
    }
    zeros(tensor, shape.clone())
}

/// A vector as `[1, count]`; a matrix as it is.
pub fn as_matrix(tensor: CubeTensor) -> CubeTensor {
    match tensor.meta.shape().num_dims() {
        1 => {
            let count = count(&tensor);
            reshaped(tensor, [1, count])
        }
        _ => tensor,
    }
}

/// One step of AdamW on all parameters, in place, and on their copies in `packed`. Returns `[norm, clip factor, whether the step is
/// refused, updated value]`. If the norm is not finite, or too large, it is, and nothing has
/// changed; the last is an updated value that is not finite, or 0 if there is none.
///
/// Reads every gradient twice, and parameters and moments once, and writes the latter and the copies.
pub fn step(
    all: &[Updated],
    packed: Option<&CubeTensor>,
    constants: Constants,
) -> Option<CubeTensor> {
    let client = &all.first()?.value.client;
    let bindings = client.properties().hardware.max_bindings as usize;
    // Besides the tensors, a launch binds two more and the scalars.
    let most =
        |of_parameter: usize| (bindings.saturating_sub(3) / of_parameter).clamp(1, PARAMETERS);
    let cubes = |updated: &Updated| count(&updated.value).div_ceil(CHUNK);
    let partial = empty(&all[0].value, [all.iter().map(cubes).sum::<usize>()], DType::F32);
    let mut first_cube = 0;
    for group in all.chunks(most(1)) {
        let cubes_of_group: usize = group.iter().map(cubes).sum();
        let gradients = buffers(group, |it| &it.gradient);
        // SAFETY: units beyond a tensor do nothing, and there is a partial sum for each cube.
        unsafe {
            squares_kernel::launch_unchecked(
                client,
                grid(cubes_of_group),
                CubeDim::new_1d(UNITS),
                gradients,
                sizes(group),
                partial.clone().into_buffer_arg(),
                first_cube as u32,
                group.len(),
            );
        }
        first_cube += cubes_of_group;
    }
    let norm = empty(&partial, [4], DType::F32);
    // SAFETY: one cube reads all partial sums and writes four numbers.
    unsafe {
        norm_kernel::launch_unchecked(
            client,
            CubeCount::Static(1, 1, 1),
            CubeDim::new_1d(ADDERS),
            partial.into_buffer_arg(),
            norm.clone().into_buffer_arg(),
            first_cube as u32,
            constants.largest,
            constants.refused,
        );
    }
    let (copied, others): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.copy.is_some());
    for group in others.chunks(most(4)) {
        update(group, None, &norm, constants);
    }
    for group in copied.chunks(most(4)) {
        update(group, packed, &norm, constants);
    }
    Some(norm)
}

/// Updates parameters that all have a copy in `packed`, if it is given.
fn update(
    group: &[&Updated],
    packed: Option<&CubeTensor>,
    norm: &CubeTensor,
    constants: Constants,
) {
    let (mut keeps, mut rates) = (SequenceArg::new(), SequenceArg::new());
    let (mut copies, mut starts) = (SequenceArg::new(), SequenceArg::new());
    for updated in group {
        keeps.push(updated.keep);
        rates.push(updated.rate);
        if packed.is_some() {
            starts.push(updated.copy.unwrap_or_default() as u32);
        }
    }
    if let Some(packed) = packed {
        copies.push(packed.clone().into_buffer_arg());
    }
    let factor = packed.map_or(DType::F32, |packed| packed.dtype);
    let args = ConstantArgsLaunch::new(
        constants.beta1,
        constants.beta2,
        constants.epsilon,
        constants.second_scale,
    );
    let cubes = group.iter().map(|updated| count(&updated.value).div_ceil(CHUNK)).sum();
    // SAFETY: units beyond a tensor do nothing, the four tensors of a parameter are of one size, and
    // `packed` has room for as many elements from the parameter's start on.
    unsafe {
        update_kernel::launch_unchecked(
            &norm.client,
            grid(cubes),
            CubeDim::new_1d(UNITS),
            buffers(group.iter().copied(), |it| &it.value),
            buffers(group.iter().copied(), |it| &it.gradient),
            buffers(group.iter().copied(), |it| &it.first),
            buffers(group.iter().copied(), |it| &it.second),
            sizes(group.iter().copied()),
            keeps,
            rates,
            copies,
            starts,
            norm.clone().into_buffer_arg(),
            args,
            group.len(),
            packed.is_some(),
            element(factor),
        );
    }
}

fn count(tensor: &CubeTensor) -> usize {
    tensor.meta.num_elements()
}

fn buffers<'a>(
    group: impl IntoIterator<Item = &'a Updated>,
    of: impl Fn(&Updated) -> &CubeTensor,
) -> SequenceArg<Box<[f32]>> {
    let mut all = SequenceArg::new();
    for updated in group {
        all.push(of(updated).clone().into_buffer_arg());
    }
    all
}

fn sizes<'a>(group: impl IntoIterator<Item = &'a Updated>) -> SequenceArg<u32> {
    let mut all = SequenceArg::new();
    for updated in group {
        all.push(count(&updated.value) as u32);
    }
    all
}

#[cube(launch_unchecked)]
fn squares_kernel(
    gradients: &Sequence<Box<[f32]>>,
    sizes: &Sequence<u32>,
    partial: &mut [f32],
    first: u32,
    #[comptime] count: usize,
) {
    let cube = CUBE_POS;
    let mut shared = Shared::<[f32]>::new_slice(UNITS as usize);
    let mut first_cube = 0usize.runtime();
    let mut sum = 0.0f32;
    #[unroll]
    for nth in 0..count {
        let gradient = &gradients[nth];
        let size = sizes[nth] as usize;
        let cubes = size.div_ceil(CHUNK);
        if cube >= first_cube && cube < first_cube + cubes {
            let start = (cube - first_cube) * CHUNK;
            for step in 0..CHUNK / UNITS as usize {
                let at = start + step * UNITS as usize + UNIT_POS as usize;
                if at < size {
                    sum += gradient[at] * gradient[at];
                }
            }
        }
        first_cube += cubes;
    }
    let total = sum_of_units(sum, &mut shared, UNITS);
    if UNIT_POS == 0 && cube < first_cube {
        partial[first as usize + cube] = total;
    }
}

#[cube(launch_unchecked)]
fn norm_kernel(partial: &[f32], norm: &mut [f32], count: u32, largest: f32, refused: f32) {
    let mut shared = Shared::<[f32]>::new_slice(ADDERS as usize);
    let sum = strided_sum(partial, UNIT_POS as usize, ADDERS as usize, count as usize);
    let total = sum_of_units(sum, &mut shared, ADDERS).sqrt();
    if UNIT_POS == 0 {
        let mut clip = 1.0f32;
        if largest > 0.0 {
            clip = min(largest / (total + 1e-6f32), 1.0f32);
        }
        norm[0] = total;
        norm[1] = clip;
        let mut is_refused = 1.0f32;
        // False for what is not a number.
        if total * clip <= refused {
            is_refused = 0.0f32;
        }
        norm[2] = is_refused;
        norm[3] = 0.0;
    }
}

/// [`Constants`] in the kernel.
#[derive(CubeLaunch, CubeType)]
struct ConstantArgs {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    second_scale: f32,
}

#[cube(launch_unchecked)]
#[expect(clippy::too_many_arguments, reason = "the tensors of one formula")]
fn update_kernel<F: Float>(
    values: &mut Sequence<Box<[f32]>>,
    gradients: &Sequence<Box<[f32]>>,
    firsts: &mut Sequence<Box<[f32]>>,
    seconds: &mut Sequence<Box<[f32]>>,
    sizes: &Sequence<u32>,
    keeps: &Sequence<f32>,
    rates: &Sequence<f32>,
    copies: &mut Sequence<Box<[F]>>,
    starts: &Sequence<u32>,
    norm: &mut [f32],
    constants: ConstantArgs,
    #[comptime] count: usize,
    #[comptime] copied: bool,
    #[define(F)] _factor: ElemType,
) {
    if norm[2] != 0.0 {
        terminate!();
    }
    let clip = norm[1];
    let cube = CUBE_POS;
    let mut first_cube = 0usize.runtime();
    #[unroll]
    for nth in 0..count {
        let gradient = gradients.index(nth);
        let values = values.index_mut(nth);
        let firsts = firsts.index_mut(nth);
        let seconds = seconds.index_mut(nth);
        let size = sizes[nth] as usize;
        let (keep, rate) = (keeps[nth], rates[nth]);
        let cubes = size.div_ceil(CHUNK);
        if cube >= first_cube && cube < first_cube + cubes {
            let start = (cube - first_cube) * CHUNK;
            for step in 0..CHUNK / UNITS as usize {
                let at = start + step * UNITS as usize + UNIT_POS as usize;
                if at < size {
                    let clipped = gradient[at] * clip;
                    let first = constants.beta1 * firsts[at] + (1.0 - constants.beta1) * clipped;
                    let second =
                        constants.beta2 * seconds[at] + (1.0 - constants.beta2) * clipped * clipped;
                    let denominator = second.sqrt() * constants.second_scale + constants.epsilon;
                    firsts[at] = first;
                    seconds[at] = second;
                    let value = values[at] * keep - rate * first / denominator;
                    values[at] = value;
                    if comptime!(copied) {
                        let copy = copies.index_mut(0);
                        copy[starts[nth] as usize + at] = F::cast_from(value);
                    }
                    let mut is_finite = false;
                    // False for what is not a number.
                    if value.abs() <= f32::MAX {
                        is_finite = true;
                    }
                    if !is_finite {
                        // Whichever unit writes last, the value is one that is not finite.
                        norm[3] = value;
                    }
                }
            }
        }
        first_cube += cubes;
    }
}

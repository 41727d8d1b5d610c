//! The weights of all layers in the format in which they are multiplied. Those of query, key and
//! value lie side by side, so that one product can compute all three.
//!
//! They are made in a few launches when they are first used. From then on AdamW, which changes
//! weights in place, writes these copies as well.

use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::format::{element, factor_type};
use super::place::Place;
use super::{UNITS, Value, check, contiguous, empty, grid, is_turned, part, reshaped, transposed};
use crate::model::precision::Precision;

/// The most weights of one launch, and elements per cube.
const WEIGHTS: usize = 32;
const CHUNK: usize = 16 * UNITS as usize;

/// The weights of one layer, `[out, in]`.
#[derive(Clone, Debug)]
pub struct LayerFactors {
    /// Of query, key and value, side by side: `[3 · hidden, hidden]`.
    pub projections: CubeTensor,
    /// Of the other linear layers, in order; none if they are multiplied as they are.
    pub others: Vec<CubeTensor>,
}

/// The copies of a model's weights. A clone of the model shares them as long as it has the same weights, as
/// one has that is evaluated between two steps.
#[derive(Clone, Debug, Default)]
pub struct KeptFactors(Arc<Mutex<Option<Kept>>>);

#[derive(Debug)]
struct Kept {
    copies: Copies,
    layers: Vec<LayerFactors>,
}

/// Where the copies are, for who changes the weights.
#[derive(Clone, Debug)]
pub struct Copies {
    pub packed: CubeTensor,
    /// Where each weight is, and the element of `packed` at which its copy starts.
    pub starts: Vec<(Place, usize)>,
}

impl KeptFactors {
    /// The factors of every layer, given its weights of query, key and value and the others. `None`
    /// if they are not on a GPU, or not stored as [`weight`](crate::model::parameters::weight) does, or
    /// multiplied as they are.
    /// Makes them unless there are copies of these very weights.
    pub fn of(&self, layers: &[LayerWeights], precision: Precision) -> Option<Vec<LayerFactors>> {
        let is_cast = factor_type(precision) != DType::F32;
        let (mut places, mut sources) = (Vec::new(), Vec::new());
        let mut counts = Vec::with_capacity(layers.len());
        for (projections, others) in layers {
            // A weight alone is multiplied as it is.
            if projections.len() == 1 && !is_cast {
                return None;
            }
            let others = if is_cast { &others[..] } else { &[] };
            counts.push([projections.len(), others.len()]);
            for weight in projections.iter().chain(others) {
                let weight = Value::of(weight)?.into_plain();
                places.push(Place::of(&weight));
                sources.push(is_turned(&weight).then(|| contiguous(transposed(&weight)))?);
            }
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let are_of = |kept: &&Kept| {
            let starts = &kept.copies.starts;
            kept.copies.packed.dtype == factor_type(precision)
                && starts.iter().map(|(place, _)| place).eq(&places)
        };
        if let Some(kept) = kept.as_ref().filter(are_of) {
            return Some(kept.layers.clone());
        }
        // Gives the memory of those that are outdated back first.
        *kept = None;
        let (packed, starts) = packed(&sources, &counts, precision)?;
        let layers = views(&sources, &counts, &packed, &starts)?;
        if check([&packed]).is_err() {
            // Whoever reads them meets the error, and there may be memory for the next ones.
            return Some(layers);
        }
        let copies = Copies { packed, starts: places.into_iter().zip(starts).collect() };
        *kept = Some(Kept { copies, layers: layers.clone() });
        Some(layers)
    }

    /// What has been made, if anything has.
    pub fn copies(&self) -> Option<Copies> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().map(|kept| kept.copies.clone())
    }
}

/// The weights of query, key and value of one layer, or one for all three, and of its other linear
/// layers in order.
pub type LayerWeights<'a> = (Vec<&'a Tensor<2>>, Vec<&'a Tensor<2>>);

/// The sources in one buffer, and the element at which each starts. `counts` has the numbers of
/// projections and of others of each layer.
fn packed(
    sources: &[CubeTensor],
    counts: &[[usize; 2]],
    precision: Precision,
) -> Option<(CubeTensor, Vec<usize>)> {
    let first = sources.first()?;
    let unit = alignment(first);
    let mut starts = Vec::with_capacity(sources.len());
    let mut length = 0;
    let mut at = sources.iter();
    for [projections, others] in counts {
        for (nth, source) in at.by_ref().take(projections + others).enumerate() {
            starts.push(length);
            length += count(source);
            // The projections stay together.
            if nth + 1 >= *projections {
                length = length.next_multiple_of(unit);
            }
        }
    }
    let packed = empty(first, [length], factor_type(precision));
    // Besides the weights, a launch binds the buffer and the scalars.
    let bindings = first.client.properties().hardware.max_bindings as usize;
    let group = bindings.saturating_sub(2).clamp(1, WEIGHTS);
    for (sources, starts) in sources.chunks(group).zip(starts.chunks(group)) {
        pack(sources, starts, &packed);
    }
    Some((packed, starts))
}

/// The factors of every layer, as views of `packed`.
fn views(
    sources: &[CubeTensor],
    counts: &[[usize; 2]],
    packed: &CubeTensor,
    starts: &[usize],
) -> Option<Vec<LayerFactors>> {
    let unit = alignment(packed);
    let view = |start: usize, shape: [usize; 2]| {
        // What ends elsewhere would be a copy, which keeps its values when the weights change.
        let end = (start + shape[0] * shape[1]).next_multiple_of(unit);
        let view = part(packed, start..end);
        (Place::memory(&view) == Place::memory(packed)).then(|| reshaped(view, shape))
    };
    let mut at = sources.iter().zip(starts);
    let found = counts.iter().map(|[count, others]| {
        let (first, start) = at.next()?;
        let [outputs, inputs] = shape(first);
        at.by_ref().take(count - 1).for_each(drop);
        let projections = view(*start, [count * outputs, inputs])?;
        let others = at.by_ref().take(*others).map(|(other, start)| view(*start, shape(other)));
        Some(LayerFactors { projections, others: others.collect::<Option<_>>()? })
    });
    found.collect()
}

/// Views of a buffer begin and end at multiples of so many elements.
fn alignment(tensor: &CubeTensor) -> usize {
    tensor.client.properties().memory.alignment as usize
}

fn shape(matrix: &CubeTensor) -> [usize; 2] {
    [matrix.meta.shape()[0], matrix.meta.shape()[1]]
}

fn count(matrix: &CubeTensor) -> usize {
    shape(matrix).iter().product()
}

/// Copies tensors into `packed`, each from its start on.
fn pack(sources: &[CubeTensor], starts: &[usize], packed: &CubeTensor) {
    let mut tensors = SequenceArg::new();
    let mut sizes = SequenceArg::new();
    let mut targets = SequenceArg::new();
    let mut cubes = 0;
    for (source, start) in sources.iter().zip(starts) {
        tensors.push(source.clone().into_buffer_arg());
        sizes.push(count(source) as u32);
        targets.push(*start as u32);
        cubes += count(source).div_ceil(CHUNK);
    }
    // SAFETY: `packed` has room for every source at its start; units beyond a source and cubes
    // beyond the last one do nothing.
    unsafe {
        pack_kernel::launch_unchecked(
            &packed.client,
            grid(cubes),
            CubeDim::new_1d(UNITS),
            tensors,
            sizes,
            targets,
            packed.clone().into_buffer_arg(),
            sources.len(),
            element(packed.dtype),
        );
    }
}

#[cube(launch_unchecked)]
fn pack_kernel<F: Float>(
    sources: &Sequence<Box<[f32]>>,
    sizes: &Sequence<u32>,
    targets: &Sequence<u32>,
    packed: &mut [F],
    #[comptime] count: usize,
    #[define(F)] _factor: ElemType,
) {
    let cube = CUBE_POS;
    let mut first_cube = 0usize.runtime();
    #[unroll]
    for nth in 0..count {
        let source = &sources[nth];
        let size = sizes[nth] as usize;
        let target = targets[nth] as usize;
        let cubes = size.div_ceil(CHUNK);
        if cube >= first_cube && cube < first_cube + cubes {
            let start = (cube - first_cube) * CHUNK;
            for step in 0..CHUNK / UNITS as usize {
                let at = start + step * UNITS as usize + UNIT_POS as usize;
                if at < size {
                    packed[target + at] = F::cast_from(source[at]);
                }
            }
        }
        first_cube += cubes;
    }
}

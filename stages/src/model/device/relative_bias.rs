//! The relative attention bias (Raffel et al. 2020), from a table of the buckets of distances.

use burn::backend::{Cube, TensorMetadata};
use burn::tensor::{DType, Int, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::operation::{Operation, run};
use super::sums::sum_of_units;
use super::{UNITS, contiguous, empty, grid, values};

/// The bias of every pair of tokens and head; `None` if the tensors are not on a GPU.
///
/// Backward sums the gradient of all pairs at a distance, as a tree, and then over the distances of a
/// bucket in their order.
///
/// # Shapes
///
/// `table` is `[buckets, heads]`; `of_pairs`, the bucket of each pair, which depends on its distance
/// alone, is `[width · width]`. The result is `[1, heads, width, width]`.
pub fn relative_bias(
    table: &Tensor<2>,
    of_pairs: &Tensor<1, Int>,
    width: usize,
) -> Option<Tensor<4>> {
    let inputs = values!(table)?;
    let of_pairs = contiguous(of_pairs.clone().try_into_primitive::<Cube>().ok()?);
    Some(run(RelativeBias { of_pairs, width }, inputs).tensor())
}

#[derive(Clone, Debug)]
struct RelativeBias {
    of_pairs: CubeTensor,
    width: usize,
}

impl Operation<1> for RelativeBias {
    /// The numbers of buckets and of heads.
    type Saved = [usize; 2];

    fn forward(&self, [table]: [CubeTensor; 1]) -> (CubeTensor, [usize; 2]) {
        let table = contiguous(table);
        let sizes = [table.shape()[0], table.shape()[1]];
        let (width, heads) = (self.width, sizes[1]);
        let output = empty(&table, [1, heads, width, width], DType::F32);
        // SAFETY: units beyond the elements do nothing, and every bucket is in the table.
        unsafe {
            forward_kernel::launch_unchecked(
                &table.client,
                grid((heads * width * width).div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                table.clone().into_buffer_arg(),
                self.of_pairs.clone().into_buffer_arg(),
                output.clone().into_buffer_arg(),
                (width * width) as u32,
                heads as u32,
            );
        }
        (output, sizes)
    }

    fn backward(
        &self,
        [buckets, heads]: [usize; 2],
        gradient: CubeTensor,
        _: [bool; 1],
    ) -> [Option<CubeTensor>; 1] {
        let width = self.width;
        let distances = 2 * width - 1;
        let gradient = contiguous(gradient);
        let of_distances = empty(&gradient, [heads, distances], DType::F32);
        let of_table = empty(&gradient, [buckets, heads], DType::F32);
        // SAFETY: cubes and units beyond the elements do nothing.
        unsafe {
            distances_kernel::launch_unchecked(
                &gradient.client,
                grid(heads * distances),
                CubeDim::new_1d(UNITS),
                gradient.clone().into_buffer_arg(),
                of_distances.clone().into_buffer_arg(),
                width as u32,
                heads as u32,
            );
            buckets_kernel::launch_unchecked(
                &gradient.client,
                grid((buckets * heads).div_ceil(UNITS as usize)),
                CubeDim::new_1d(UNITS),
                of_distances.into_buffer_arg(),
                self.of_pairs.clone().into_buffer_arg(),
                of_table.clone().into_buffer_arg(),
                width as u32,
                buckets as u32,
                heads as u32,
            );
        }
        [Some(of_table)]
    }
}

#[cube(launch_unchecked)]
fn forward_kernel(table: &[f32], of_pairs: &[i32], output: &mut [f32], pairs: u32, heads: u32) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    let (pairs, heads) = (pairs as usize, heads as usize);
    if at < pairs * heads {
        let (head, pair) = (at / pairs, at % pairs);
        output[at] = table[of_pairs[pair] as usize * heads + head];
    }
}

/// A cube for each head and distance. Distance `d` is that of key `k` from query `q` where
/// `k + width - 1 - q = d`.
#[cube(launch_unchecked)]
fn distances_kernel(gradient: &[f32], of_distances: &mut [f32], width: u32, heads: u32) {
    let mut shared = Shared::<[f32]>::new_slice(UNITS as usize);
    let width = width as usize;
    let distances = 2 * width - 1;
    let (head, distance) = (CUBE_POS / distances, CUBE_POS % distances);
    if head >= heads as usize {
        terminate!();
    }
    let mut sum = 0.0f32;
    let mut query = UNIT_POS as usize;
    while query < width {
        let shifted = distance + query;
        if shifted >= width - 1 && shifted < 2 * width - 1 {
            let key = shifted - (width - 1);
            sum += gradient[(head * width + query) * width + key];
        }
        query += UNITS as usize;
    }
    let total = sum_of_units(sum, &mut shared, UNITS);
    if UNIT_POS == 0 {
        of_distances[CUBE_POS] = total;
    }
}

#[cube(launch_unchecked)]
fn buckets_kernel(
    of_distances: &[f32],
    of_pairs: &[i32],
    of_table: &mut [f32],
    width: u32,
    buckets: u32,
    heads: u32,
) {
    let at = CUBE_POS * UNITS as usize + UNIT_POS as usize;
    let (width, heads) = (width as usize, heads as usize);
    if at < buckets as usize * heads {
        let (bucket, head) = (at / heads, at % heads);
        let distances = 2 * width - 1;
        let mut sum = 0.0f32;
        for distance in 0..distances {
            // Of the first query, or of the first key.
            let mut pair = (width - 1 - min(distance, width - 1)) * width;
            if distance >= width - 1 {
                pair = distance - (width - 1);
            }
            if of_pairs[pair] as usize == bucket {
                sum += of_distances[head * distances + distance];
            }
        }
        of_table[at] = sum;
    }
}

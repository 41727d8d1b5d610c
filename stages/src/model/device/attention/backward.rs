//! The backward pass of attention: the gradients of the queries, then those of the keys and values.
//! Both compute the probabilities again.

use super::of_key::of_key_kernel;
use super::of_query::of_query_kernel;
use super::sizes::{BLOCK, Sizes, UNITS};
use super::tile::access;
use super::*;
use crate::model::device::format::element;
use crate::model::device::slice;

impl Attention {
    /// The gradients of the projections, which are written to `into`, and of the biases.
    pub(super) fn gradients(
        &self,
        saved: &Saved,
        gradient: &CubeTensor,
        into: [CubeTensor; 2],
    ) -> Found {
        let Sizes { rows, queries, keys, heads, .. } = self.sizes;
        let hidden = self.sizes.hidden();
        let Saved { inputs, output, logarithms } = saved;
        let factor = output.dtype;
        let query_blocks = rows * queries.div_ceil(BLOCK);
        let key_blocks = rows * keys.div_ceil(BLOCK);
        // Partial sums of the biases' gradients, side by side like the projections; without biases, nothing.
        let partial = |blocks: usize, stride: usize| match inputs.has_biases {
            true => empty(output, [blocks, stride], DType::F32),
            false => empty(output, [1, 1], DType::F32),
        };
        let of_query_bias = partial(query_blocks, self.sizes.query_stride);
        let of_other_biases = match self.sizes.is_joint() {
            true => of_query_bias.clone(),
            false => partial(key_blocks, self.sizes.key_stride),
        };
        let along = empty(output, [rows, heads, queries], DType::F32);
        // SAFETY: tokens beyond a row are neither read nor written, and the tensors have the shapes of
        // `attention`.
        unsafe {
            of_query_kernel::launch_unchecked(
                &output.client,
                self.sizes.cubes(queries),
                CubeDim::new_1d(UNITS),
                self.source(inputs),
                gradient.clone().into_buffer_arg(),
                output.clone().into_buffer_arg(),
                logarithms.clone().into_buffer_arg(),
                into[0].clone().into_buffer_arg(),
                along.clone().into_buffer_arg(),
                of_query_bias.clone().into_buffer_arg(),
                self.kind(inputs),
                element(factor),
                access(self.sizes.size),
            );
        }
        // SAFETY: as above.
        unsafe {
            of_key_kernel::launch_unchecked(
                &output.client,
                self.sizes.cubes(keys),
                CubeDim::new_1d(UNITS),
                self.source(inputs),
                gradient.clone().into_buffer_arg(),
                logarithms.clone().into_buffer_arg(),
                along.clone().into_buffer_arg(),
                into[1].clone().into_buffer_arg(),
                of_other_biases.clone().into_buffer_arg(),
                self.kind(inputs),
                element(factor),
                access(self.sizes.size),
            );
        }
        let biases = inputs.has_biases.then(|| {
            let others = over_blocks(&of_other_biases, key_blocks, self.sizes.key_stride);
            match self.sizes.is_joint() {
                true => [0, 1, 2].map(|nth| slice(&others, nth, hidden)),
                false => [
                    over_blocks(&of_query_bias, query_blocks, hidden),
                    slice(&others, 0, hidden),
                    slice(&others, 1, hidden),
                ],
            }
        });
        Found { projections: into, biases, along }
    }
}

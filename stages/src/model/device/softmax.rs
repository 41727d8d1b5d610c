//! Softmax over the scores of attention that has no kernel of its own: with relative positions, padding, a
//! window and dropout, in one pass over the scores forward and one backward.

mod gradients;
mod line;

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::format::{element, factor_type};
use super::noise::DeviceMask;
use super::operation::{Operation, run};
use super::section::Section;
use super::sums::{highest_of_units, sum_of_units};
use super::{UNITS, Value, contiguous, empty, grid, like};
use crate::model::cpu::attention::AttentionOptions;
use line::{Kind, SizesArgsLaunch, Source, SourceLaunch};

/// Softmax of `products · scale`, times dropout's mask, in the format of the factors of products. Padding has
/// the probability 0, but for rows of nothing else, and so has a token outside of the window. `None` if the
/// tensors are not on a GPU, or too large for indices of 32 bits, or if there is padding between tokens.
///
/// Forward reads the products twice and writes a number per query and head besides the result; backward
/// computes the probabilities again from the logarithm of their sum.
///
/// # Shapes
///
/// `products` and the result are `[rows, heads, queries, keys]`. `added` is one of:
///
/// - nothing;
/// - a bias `[1, heads, queries, keys]`, added after scaling;
/// - the products of the queries with positions as keys, `[rows, heads, queries, 2 · keys - 1]`, and of
///   the keys with positions as queries, `[rows, heads, keys, 2 · keys - 1]`, added before scaling. Position
///   `k - q + keys - 1` is that of key `k` seen from query `q` (He et al. 2021, equation 4).
pub fn softmax(
    products: &Tensor<4>,
    added: &[Tensor<4>],
    options: &AttentionOptions,
) -> Option<Tensor<4>> {
    let [rows, heads, queries, keys] = products.dims();
    let largest =
        added.iter().chain([products]).map(|tensor| tensor.shape().num_elements()).max()?;
    if largest > u32::MAX as usize {
        return None;
    }
    let spans = options.spans.clone()?;
    let operation = Softmax { rows, heads, queries, keys, spans, options: options.clone() };
    let products = Value::of(products)?;
    Some(match added {
        [] => run(operation, [products]).tensor(),
        [bias] => run(operation, [products, Value::of(bias)?]).tensor(),
        [along, across, ..] => {
            run(operation, [products, Value::of(along)?, Value::of(across)?]).tensor()
        }
    })
}

#[derive(Clone, Debug)]
struct Softmax {
    rows: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    spans: Section,
    options: AttentionOptions,
}

#[derive(Clone, Debug)]
struct Saved {
    /// The products and what was added.
    inputs: Vec<CubeTensor>,
    mask: DeviceMask,
    /// The logarithm of the sum of the exponentials of the scores, `[rows, heads, queries]`.
    logarithms: CubeTensor,
}

impl Softmax {
    fn lines(&self) -> usize {
        self.rows * self.heads * self.queries
    }

    fn kind(&self, saved: &Saved) -> Kind {
        Kind {
            // A longer line has more units.
            beside: if self.keys <= 512 { 32 } else { UNITS as usize },
            added: saved.inputs.len() - 1,
            drops: saved.mask.drops(),
            is_local: self.options.window.is_some(),
        }
    }

    fn source(&self, Saved { inputs, mask, .. }: &Saved) -> SourceLaunch {
        let nth = |nth: usize| inputs.get(nth).unwrap_or(&inputs[0]).clone().into_buffer_arg();
        let sizes = SizesArgsLaunch::new(
            self.lines() as u32,
            self.heads as u32,
            self.queries as u32,
            self.keys as u32,
            self.options.window.unwrap_or_default() as u32,
            self.spans.start,
            self.options.scale,
        );
        SourceLaunch::new(
            nth(0),
            nth(1),
            nth(2),
            self.spans.buffer(),
            mask.keys(),
            sizes,
            mask.args(),
        )
    }

    /// Cubes for all lines.
    fn cubes(&self, kind: Kind) -> CubeCount {
        grid(self.lines().div_ceil(UNITS as usize / kind.beside))
    }
}

impl<const N: usize> Operation<N> for Softmax {
    type Saved = Saved;

    fn forward(&self, inputs: [CubeTensor; N]) -> (CubeTensor, Saved) {
        let inputs: Vec<CubeTensor> = inputs.into_iter().map(contiguous).collect();
        let output = like(&inputs[0], factor_type(self.options.precision));
        let logarithms = empty(&inputs[0], [self.rows, self.heads, self.queries], DType::F32);
        let mask = DeviceMask::new(self.options.mask.as_ref(), &inputs[0]);
        let saved = Saved { inputs, mask, logarithms };
        let kind = self.kind(&saved);
        // SAFETY: lines beyond the last are neither read nor written, and the tensors have the shapes of
        // `softmax`.
        unsafe {
            forward_kernel::launch_unchecked(
                &output.client,
                self.cubes(kind),
                CubeDim::new_1d(UNITS),
                self.source(&saved),
                output.clone().into_buffer_arg(),
                saved.logarithms.clone().into_buffer_arg(),
                kind,
                element(output.dtype),
            );
        }
        (output, saved)
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        wanted: [bool; N],
    ) -> [Option<CubeTensor>; N] {
        let of_products = self.of_products(&saved, contiguous(gradient));
        let mut found = [const { None }; N];
        for (nth, found) in found.iter_mut().enumerate().skip(1).filter(|(nth, _)| wanted[*nth]) {
            *found = Some(match N {
                2 => self.of_bias(&of_products),
                _ => self.of_distances(&of_products, nth == 2),
            });
        }
        found[0] = Some(of_products);
        found
    }
}

#[cube(launch_unchecked)]
fn forward_kernel<F: Float>(
    from: Source,
    output: &mut [F],
    logarithms: &mut [f32],
    #[comptime] kind: Kind,
    #[define(F)] _factor: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(UNITS as usize);
    let line = from.line(kind);
    let (mut highest, mut sum) = ((-1e30f32).runtime(), 0.0f32);
    let mut key = line.first_key(kind);
    while key < line.end {
        if line.sees(key) {
            let score = from.score(&line, key, kind);
            let before = highest;
            highest = max(highest, score);
            sum = sum * (before - highest).exp() + (score - highest).exp();
        }
        key += kind.beside;
    }
    let highest_of_all = highest_of_units(highest, &mut shared, comptime!(kind.beside as u32));
    sum *= (highest - highest_of_all).exp();
    let total = sum_of_units(sum, &mut shared, comptime!(kind.beside as u32));
    let logarithm = highest_of_all + total.ln();
    if line.is_real {
        if line.unit == 0 {
            logarithms[line.number] = logarithm;
        }
        let keys = from.sizes.keys as usize;
        let mut key = line.unit;
        while key < keys {
            let mut share = 0.0f32;
            if line.sees(key) {
                share = (from.score(&line, key, kind) - logarithm).exp();
                share *= from.dropout(&line, key, kind);
            }
            output[line.number * keys + key] = F::cast_from(share);
            key += kind.beside;
        }
    }
}

//! Scaled dot-product attention (Vaswani et al. 2017) with the biases of its projections. Scores
//! are never written to memory: forward keeps a running maximum and sum, backward computes them
//! again from the sum's logarithm (Dao et al. 2022).
//!
//! A cube computes [`BLOCK`] queries (or keys) of one head of one example, eight units each.

mod backward;
mod forward;
mod of_relative;
mod tile;

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::inputs::Section;
use super::linear::factor_type;
use super::noise::DeviceMask;
use super::operation::{Operation, run};
use super::sums::over_blocks;
use super::{Value, contiguous, empty, grid, like, values};
use crate::model::cpu::attention::AttentionOptions;

/// Queries (or keys) per cube.
const BLOCK: usize = 16;
/// Units for each of them.
const BESIDE: usize = 8;
const UNITS: u32 = (BLOCK * BESIDE) as u32;
/// Longer sequences and wider heads are left to matrix products.
const MOST_KEYS: usize = 512;
const WIDEST_HEAD: usize = 128;

/// Attention over projections without their biases, in the format of the factors of the next
/// product. `None` if the tensors are not on a GPU, or too long or wide.
///
/// Forward reads the projections once per block of queries and writes the result and a number per
/// query and head. Backward reads them twice, and the gradient, and writes the gradients.
///
/// # Shapes
///
/// `projections` are `[rows, queries, hidden]` and two of `[rows, keys, hidden]`, `biases` are
/// `[hidden]`, `relative` is `[1, heads, keys, keys]`. The result is `[rows, queries, hidden]`.
pub fn attention(
    [query, key, value]: [&Tensor<3>; 3],
    [query_bias, key_bias, value_bias]: [&Tensor<1>; 3],
    relative: Option<&Tensor<4>>,
    options: &AttentionOptions,
) -> Option<Tensor<3>> {
    let [rows, queries, hidden] = query.dims();
    let [_, keys, _] = key.dims();
    let heads = options.heads;
    if keys > MOST_KEYS || hidden / heads.max(1) > WIDEST_HEAD {
        return None;
    }
    let [query, key, value] = values!(query, key, value)?;
    let [query_bias, key_bias, value_bias] = values!(query_bias, key_bias, value_bias)?;
    let sizes = Sizes { rows, queries, keys, heads, size: hidden / heads.max(1) };
    let spans = options.spans.clone()?;
    let operation = Attention { sizes, spans, options: options.clone() };
    let inputs = [query, key, value, query_bias, key_bias, value_bias];
    Some(match relative {
        None => run(operation, inputs).tensor(),
        Some(relative) => {
            let [query, key, value, query_bias, key_bias, value_bias] = inputs;
            let relative = Value::of(relative)?;
            let inputs = [query, key, value, query_bias, key_bias, value_bias, relative];
            run(operation, inputs).tensor()
        }
    })
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    rows: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    /// Features per head.
    size: usize,
}

impl Sizes {
    fn hidden(self) -> usize {
        self.heads * self.size
    }

    /// Cubes for blocks of `tokens`, of all heads and rows.
    fn cubes(self, tokens: usize) -> usize {
        self.rows * self.heads * tokens.div_ceil(BLOCK)
    }

    /// Keys (or queries) per step of a cube's loop: fewer for wide heads, to fit in shared memory.
    fn step(self) -> usize {
        if self.size <= 64 { 4 * BESIDE } else { BESIDE }
    }

    fn args(self, first_span: u32) -> SizesArgsLaunch {
        SizesArgsLaunch::new(
            self.rows as u32,
            self.queries as u32,
            self.keys as u32,
            self.heads as u32,
            first_span,
            1.0 / (self.size as f32).sqrt(),
        )
    }
}

/// The numbers of one launch.
#[derive(CubeLaunch, CubeType)]
struct SizesArgs {
    rows: u32,
    queries: u32,
    keys: u32,
    heads: u32,
    /// Where the spans start.
    first_span: u32,
    /// The factor of the scores.
    scale: f32,
}

/// What is the same for all cells at compile time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    size: usize,
    step: usize,
    drops: bool,
    is_relative: bool,
}

#[derive(Clone, Debug)]
struct Attention {
    sizes: Sizes,
    spans: Section,
    options: AttentionOptions,
}

/// The inputs of the kernels.
#[derive(Clone, Debug)]
struct Inputs {
    /// Query, key and value, then their biases.
    projections: [CubeTensor; 6],
    /// Any tensor if there is none.
    relative: CubeTensor,
    is_relative: bool,
    /// The first token of each row, and the end of its tokens; the rest is padding.
    spans: Section,
    mask: DeviceMask,
}

#[derive(Clone, Debug)]
struct Saved {
    inputs: Inputs,
    output: CubeTensor,
    /// The logarithm of the sum of the exponentials of the scores, `[rows, heads, queries]`.
    logarithms: CubeTensor,
}

impl Attention {
    fn inputs(&self, projections: [CubeTensor; 6], relative: Option<CubeTensor>) -> Inputs {
        let projections = projections.map(contiguous);
        let other = &projections[0];
        let mask = DeviceMask::new(self.options.mask.as_ref(), other);
        let is_relative = relative.is_some();
        let relative = relative.map_or_else(|| other.clone(), contiguous);
        Inputs { projections, relative, is_relative, spans: self.spans.clone(), mask }
    }

    fn kind(&self, inputs: &Inputs) -> Kind {
        Kind {
            size: self.sizes.size,
            step: self.sizes.step(),
            drops: inputs.mask.drops(),
            is_relative: inputs.is_relative,
        }
    }
}

impl Operation<6> for Attention {
    type Saved = Saved;

    fn forward(&self, inputs: [CubeTensor; 6]) -> (CubeTensor, Saved) {
        self.attend(self.inputs(inputs, None))
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        _: [bool; 6],
    ) -> [Option<CubeTensor>; 6] {
        self.gradients(&saved, contiguous(gradient)).0.map(Some)
    }
}

/// With the relative bias as the last input.
impl Operation<7> for Attention {
    type Saved = Saved;

    fn forward(&self, inputs: [CubeTensor; 7]) -> (CubeTensor, Saved) {
        let [query, key, value, query_bias, key_bias, value_bias, relative] = inputs;
        let projections = [query, key, value, query_bias, key_bias, value_bias];
        self.attend(self.inputs(projections, Some(relative)))
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        wanted: [bool; 7],
    ) -> [Option<CubeTensor>; 7] {
        let gradient = contiguous(gradient);
        let (found, along) = self.gradients(&saved, gradient.clone());
        let [query, key, value, query_bias, key_bias, value_bias] = found.map(Some);
        let of_relative = wanted[6].then(|| self.gradient_of_relative(&saved, &gradient, &along));
        [query, key, value, query_bias, key_bias, value_bias, of_relative]
    }
}

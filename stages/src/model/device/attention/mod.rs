//! Scaled dot-product attention (Vaswani et al. 2017), also with the biases of its projections. Scores
//! are never written to memory: forward keeps a running maximum and sum, backward computes them
//! again from the sum's logarithm (Dao et al. 2022).
//!
//! A cube computes [`BLOCK`] queries (or keys) of one head of one example, eight units each. A unit
//! reads four features from shared memory at once, and uses each line of its own for several of the
//! others: the accesses to that memory, not the arithmetic, bound these kernels.

mod backward;
mod forward;
mod of_key;
mod of_query;
mod of_relative;
mod place;
mod sizes;
mod source;
mod tile;

use burn::tensor::{DType, Tensor};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::format::{factor_type, with_gradient_in_floats};
use super::linear::{Factor, product, products};
use super::noise::DeviceMask;
use super::operation::{Operation, run};
use super::section::Section;
use super::sums::over_blocks;
use super::{Value, contiguous, empty, like};
use crate::model::affine::Affine;
use crate::model::cpu::attention::AttentionOptions;
use sizes::{Kind, Sizes};
use source::SourceLaunch;

/// Longer sequences and wider heads are left to matrix products.
const MOST_KEYS: usize = 512;
const WIDEST_HEAD: usize = 128;
/// What Vulkan guarantees along each axis of a grid of cubes.
const MOST_CUBES: usize = 65_535;

/// Whether there are kernels for keys of the shape `[rows, keys, hidden]` and so many heads.
fn has_kernels([rows, keys, hidden]: [usize; 3], heads: usize) -> bool {
    let size = hidden / heads.max(1);
    keys <= MOST_KEYS && size <= WIDEST_HEAD && rows.max(heads) <= MOST_CUBES
}

/// The projections of a layer.
#[derive(Clone, Copy, Debug)]
pub enum Projections<'a> {
    /// Query, key and value of all tokens, `[rows, tokens, 3 · hidden]`.
    Joint(&'a Tensor<3>),
    /// The queries of some tokens, `[rows, queries, hidden]`, and key and value of all,
    /// `[rows, keys, 2 · hidden]`.
    Apart(&'a Tensor<3>, &'a Tensor<3>),
}

/// Attention in the format of the factors of the next product. `None` if the tensors are not on a
/// GPU, or too long or wide, or if there is padding between tokens.
///
/// Forward reads the projections once per block of queries and writes the result and a number per
/// query and head. Backward reads them twice, and the gradient, and writes the gradients.
///
/// # Shapes
///
/// `biases` are those of query, key and value that are not in the projections yet, `[hidden]`; `relative`,
/// which only comes with biases, is `[1, heads, keys, keys]`. The result is `[rows, queries, hidden]`.
pub fn attention(
    projections: Projections,
    biases: Option<[&Tensor<1>; 3]>,
    relative: Option<&Tensor<4>>,
    options: &AttentionOptions,
) -> Option<Tensor<3>> {
    let heads = options.heads;
    let (asking, keyed, hidden) = match projections {
        Projections::Joint(all) => (all, all, all.dims()[2] / 3),
        Projections::Apart(query, others) => (query, others, query.dims()[2]),
    };
    let ([rows, queries, query_stride], [_, keys, key_stride]) = (asking.dims(), keyed.dims());
    let size = hidden / heads.max(1);
    if !has_kernels([rows, keys, hidden], heads) {
        return None;
    }
    let sizes = Sizes { rows, queries, keys, heads, size, query_stride, key_stride };
    let operation = Attention { sizes, spans: options.spans.clone()?, options: options.clone() };
    let mut inputs = match projections {
        Projections::Joint(all) => vec![Value::of(all)?],
        Projections::Apart(query, others) => vec![Value::of(query)?, Value::of(others)?],
    };
    for bias in biases.into_iter().flatten() {
        inputs.push(Value::of(bias)?);
    }
    if let Some(relative) = relative {
        inputs.push(Value::of(relative)?);
    }
    let attended = match (projections, inputs.len()) {
        (Projections::Joint(_), 1) => run_of::<_, 1>(Joint(operation), inputs),
        (Projections::Joint(_), 4) => run_of::<_, 4>(Joint(operation), inputs),
        (Projections::Joint(_), _) => run_of::<_, 5>(Joint(operation), inputs),
        (Projections::Apart(..), 2) => run_of::<_, 2>(Apart(operation), inputs),
        (Projections::Apart(..), 5) => run_of::<_, 5>(Apart(operation), inputs),
        (Projections::Apart(..), _) => run_of::<_, 6>(Apart(operation), inputs),
    };
    attended.map(Value::tensor)
}

fn run_of<O: Operation<N>, const N: usize>(operation: O, inputs: Vec<Value>) -> Option<Value> {
    Some(run(operation, <[Value; N]>::try_from(inputs).ok()?))
}

/// [`attention`] of the first `queries` tokens to all, whose queries, keys and values are side by side.
///
/// # Shapes
///
/// `[rows, keys, 3 · hidden]` to `[rows, queries, hidden]`.
pub fn joint(
    projected: &Tensor<3>,
    queries: usize,
    options: &AttentionOptions,
) -> Option<Tensor<3>> {
    let [rows, keys, width] = projected.dims();
    let hidden = width / 3;
    if options.spans.is_none() || !has_kernels([rows, keys, hidden], options.heads) {
        return None;
    }
    if queries == keys {
        return attention(Projections::Joint(projected), None, None, options);
    }
    let query = projected.clone().narrow(2, 0, hidden).narrow(1, 0, queries);
    let others = projected.clone().narrow(2, hidden, 2 * hidden);
    let [query, others] = [query, others].map(with_gradient_in_floats);
    attention(Projections::Apart(&query, &others), None, None, options)
}

/// [`attention`] with its projections, whose weights `factor` holds side by side,
/// `[3 · hidden, hidden]`. `None` also if it does not, before anything is computed.
///
/// # Shapes
///
/// `asking` is `[rows, queries, hidden]`, `states` is `[rows, keys, hidden]`; the result is
/// `[rows, queries, hidden]`.
pub fn layer(
    asking: &Tensor<3>,
    states: &Tensor<3>,
    [query, key, value]: &[Affine; 3],
    factor: &Factor,
    relative: Option<&Tensor<4>>,
    options: &AttentionOptions,
) -> Option<Tensor<3>> {
    let precision = options.precision;
    if options.spans.is_none() || !has_kernels(states.dims(), options.heads) {
        return None;
    }
    let biases = [&query.bias, &key.bias, &value.bias];
    let [of_query, of_key, of_value] = [query, key, value].map(|it| it.weight.floats());
    let weights = [of_query?, of_key?, of_value?];
    factor.weight.as_ref()?;
    if asking.dims() == states.dims() {
        let all = products(states, weights, factor, precision)?;
        return attention(Projections::Joint(&all), Some(biases), relative, options);
    }
    let asked = product(asking, weights[0], &factor.outputs(0..1), precision)?;
    let others = products(states, [weights[1], weights[2]], &factor.outputs(1..3), precision)?;
    attention(Projections::Apart(&asked, &others), Some(biases), relative, options)
}

#[derive(Clone, Debug)]
struct Attention {
    sizes: Sizes,
    spans: Section,
    options: AttentionOptions,
}

/// [`Projections::Joint`]: the projections, and perhaps three biases and the relative bias.
#[derive(Clone, Debug)]
struct Joint(Attention);

/// [`Projections::Apart`]: the two projections, and perhaps three biases and the relative bias.
#[derive(Clone, Debug)]
struct Apart(Attention);

/// The inputs of the kernels.
#[derive(Clone, Debug)]
struct Inputs {
    /// The tensor with the queries, then that with keys and values, which may be the same.
    projections: [CubeTensor; 2],
    /// Of query, key and value; any tensors if there are none.
    biases: [CubeTensor; 3],
    has_biases: bool,
    /// Any tensor if there is none.
    relative: CubeTensor,
    is_relative: bool,
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

/// The gradients of the inputs.
struct Found {
    /// Of the queries and of keys and values, which may be the same tensor.
    projections: [CubeTensor; 2],
    biases: Option<[CubeTensor; 3]>,
    /// For every query and head the sum of the gradient times the result.
    along: CubeTensor,
}

impl Attention {
    /// `rest` holds nothing, or the biases and perhaps the relative bias.
    fn inputs(&self, projections: [CubeTensor; 2], rest: &[CubeTensor]) -> Inputs {
        let other = &projections[0];
        let mask = DeviceMask::new(self.options.mask.as_ref(), other);
        let relative = rest.get(3).map(|relative| contiguous(relative.clone()));
        let is_relative = relative.is_some();
        let relative = relative.unwrap_or_else(|| other.clone());
        let bias =
            |nth: usize| rest.get(nth).map_or_else(|| other.clone(), |it| contiguous(it.clone()));
        let (biases, has_biases) = ([0, 1, 2].map(bias), !rest.is_empty());
        let spans = self.spans.clone();
        Inputs { projections, biases, has_biases, relative, is_relative, spans, mask }
    }

    /// The gradients of the biases and perhaps of the relative bias, into `found`.
    fn rest(
        &self,
        saved: &Saved,
        gradient: &CubeTensor,
        of: Found,
        found: &mut [Option<CubeTensor>],
        wanted: &[bool],
    ) {
        for (found, bias) in found.iter_mut().zip(of.biases.into_iter().flatten()) {
            *found = Some(bias);
        }
        if wanted.get(3) == Some(&true) {
            found[3] = Some(self.gradient_of_relative(saved, gradient, &of.along));
        }
    }

    fn source<N: Size>(&self, inputs: &Inputs) -> SourceLaunch<N> {
        let [query, others] = inputs.projections.clone();
        let [query_bias, key_bias, value_bias] = inputs.biases.clone();
        SourceLaunch::new(
            query.into_buffer_arg(),
            others.clone().into_buffer_arg(),
            others.into_buffer_arg(),
            query_bias.into_buffer_arg(),
            key_bias.into_buffer_arg(),
            value_bias.into_buffer_arg(),
            inputs.relative.clone().into_buffer_arg(),
            inputs.spans.buffer(),
            inputs.mask.keys(),
            self.sizes.args(inputs.spans.start, self.options.window),
            inputs.mask.args(),
        )
    }

    fn kind(&self, inputs: &Inputs) -> Kind {
        Kind {
            size: self.sizes.size,
            step: self.sizes.step(),
            drops: inputs.mask.drops(),
            has_biases: inputs.has_biases,
            is_relative: inputs.is_relative,
            is_local: self.options.window.is_some(),
        }
    }
}

impl<const N: usize> Operation<N> for Joint {
    type Saved = Saved;

    fn forward(&self, inputs: [CubeTensor; N]) -> (CubeTensor, Saved) {
        let all = contiguous(inputs[0].clone());
        self.0.attend(self.0.inputs([all.clone(), all], &inputs[1..]))
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        wanted: [bool; N],
    ) -> [Option<CubeTensor>; N] {
        let gradient = contiguous(gradient);
        let all = like(&saved.inputs.projections[0], saved.output.dtype);
        let of = self.0.gradients(&saved, &gradient, [all.clone(), all]);
        let mut found = [const { None }; N];
        found[0] = Some(of.projections[0].clone());
        self.0.rest(&saved, &gradient, of, &mut found[1..], &wanted[1..]);
        found
    }
}

impl<const N: usize> Operation<N> for Apart {
    type Saved = Saved;

    fn forward(&self, inputs: [CubeTensor; N]) -> (CubeTensor, Saved) {
        let projections = [0, 1].map(|nth| contiguous(inputs[nth].clone()));
        self.0.attend(self.0.inputs(projections, &inputs[2..]))
    }

    fn backward(
        &self,
        saved: Saved,
        gradient: CubeTensor,
        wanted: [bool; N],
    ) -> [Option<CubeTensor>; N] {
        let gradient = contiguous(gradient);
        let projections =
            saved.inputs.projections.each_ref().map(|it| like(it, saved.output.dtype));
        let of = self.0.gradients(&saved, &gradient, projections);
        let mut found = [const { None }; N];
        found[0] = Some(of.projections[0].clone());
        found[1] = Some(of.projections[1].clone());
        self.0.rest(&saved, &gradient, of, &mut found[2..], &wanted[2..]);
        found
    }
}

//! The operations of the network on any device: the fused kernels of [`super::cpu`] on the CPU,
//! burn's own operations elsewhere.

use burn::tensor::{Tensor, activation};

use super::cpu;
use super::cpu::attention::AttentionOptions;
use super::noise::Mask;
use super::precision::Precision;

/// Whether the values are in the memory of this process.
pub fn is_on_host<const D: usize>(tensor: &Tensor<D>) -> bool {
    !matches!(cpu::backing(tensor), cpu::Backing::Elsewhere)
}

/// `left + right` of equal shapes, without autodiff. On the CPU it reuses the memory of `left` if
/// nothing else shares it.
pub fn sum<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
    // `left` is not cloned here: a second owner would force a copy.
    match cpu::backing(&right) {
        cpu::Backing::Plain(right) => cpu::sum(left, &right),
        _ => left + right,
    }
}

/// [`sum`] of two tables, where `right` is 0 outside of `rows`.
pub fn sum_of_rows(left: Tensor<2>, right: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    match cpu::backing(right) {
        cpu::Backing::Plain(right) => cpu::sum_of_rows(left, &right, rows),
        _ => left + right.clone(),
    }
}

/// `y = x W + b`.
///
/// # Shapes
///
/// `input` is `[…, in]`, `weight` is `[in, out]` and `bias` is `[out]`. The result is `[…, out]`.
pub fn linear<const D: usize>(
    input: Tensor<D>,
    weight: &Tensor<2>,
    bias: &Tensor<1>,
    precision: Precision,
) -> Tensor<D> {
    cpu::linear::linear(&input, weight, bias, precision).unwrap_or_else(|| {
        let weight = precision.factor(weight.clone());
        let product = burn::tensor::module::linear(precision.factor(input), weight, None);
        let mut shape = [1; D];
        shape[D - 1] = bias.dims()[0];
        precision.product(product) + bias.clone().reshape(shape)
    })
}

/// Exact GELU.
pub fn gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    // Not burn's gelu: on some devices its derivative is that of the tanh approximation.
    cpu::gelu::gelu(&input).unwrap_or_else(|| {
        let below = (input.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0;
        input * below * 0.5
    })
}

/// `norm(branch · mask + residual) · weight + bias`, over the last axis.
///
/// # Shapes
///
/// `branch`, `residual` and the result are `[rows, tokens, hidden]`.
pub fn add_norm(
    branch: Tensor<3>,
    residual: Tensor<3>,
    mask: Option<Mask>,
    weight: &Tensor<1>,
    bias: &Tensor<1>,
    eps: f64,
) -> Tensor<3> {
    let fused = cpu::norm::add_norm(&branch, &residual, mask.clone(), weight, bias, eps);
    fused.unwrap_or_else(|| {
        let sum = dropout(branch, mask.as_ref()) + residual;
        burn::tensor::module::layer_norm(sum, weight.clone(), Some(bias.clone()), eps)
    })
}

/// Multiplies by the mask, if there is one.
pub fn dropout(states: Tensor<3>, mask: Option<&Mask>) -> Tensor<3> {
    match mask {
        Some(mask) => {
            let mask = mask.states(states.dims(), &states.device());
            states * mask
        }
        None => states,
    }
}

/// Multi-head attention over projections, with dropout on the probabilities.
///
/// # Shapes
///
/// `query` is `[rows, queries, hidden]`, `key` and `value` are `[rows, keys, hidden]`, `relative`
/// is `[1, heads, keys, keys]`. The result is `[rows, queries, hidden]`.
pub fn attention(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    relative: Option<&Tensor<4>>,
    options: AttentionOptions,
) -> Tensor<3> {
    let precision = options.precision;
    let fused = cpu::attention::attention(&query, &key, &value, relative, options.clone());
    fused.unwrap_or_else(|| {
        let [rows, queries, hidden] = query.dims();
        let keys = key.dims()[1];
        let (heads, device) = (options.heads, query.device());
        // [rows, tokens, hidden] → [rows, heads, tokens, size]
        let split = |projected: Tensor<3>| {
            let [_, tokens, _] = projected.dims();
            let heads_apart = projected.reshape([rows, tokens, heads, hidden / heads]);
            precision.factor(heads_apart.swap_dims(1, 2))
        };
        let scale = ((hidden / heads) as f64).sqrt();
        let products = split(query).matmul(split(key).transpose());
        let mut scores = precision.product(products) / scale;
        if let Some(relative) = relative {
            scores = scores + relative.clone().slice([0..1, 0..heads, 0..queries]);
        }
        if let Some(padding) = options.padding {
            let padding = burn::tensor::TensorData::new(padding, [rows, 1, 1, keys]);
            scores = scores + Tensor::from_data(padding, &device);
        }
        let mut probabilities = activation::softmax(scores, 3); // [rows, heads, queries, keys]
        if let Some(mask) = options.mask {
            let mask = mask.probabilities([rows, heads, queries, keys], &device);
            probabilities = probabilities * mask;
        }
        let attended = precision.factor(probabilities).matmul(split(value)).swap_dims(1, 2);
        // From [rows, queries, heads, size].
        precision.product(attended.reshape([rows, queries, hidden]))
    })
}

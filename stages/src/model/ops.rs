//! The network's operations, on whatever device the tensors live: on the CPU the fused ones of
//! [`super::cpu`], elsewhere burn's own.

use burn::tensor::{Tensor, activation};

use super::cpu;
use super::cpu::attention::Setting;
use super::noise::Mask;

/// `y = x W + b`.
///
/// # Shapes
///
/// `[…, in]`, `[in, out]` and `[out]` to `[…, out]`.
pub fn linear<const D: usize>(input: Tensor<D>, weight: &Tensor<2>, bias: &Tensor<1>) -> Tensor<D> {
    cpu::linear::linear(&input, weight, bias)
        .unwrap_or_else(|| burn::tensor::module::linear(input, weight.clone(), Some(bias.clone())))
}

/// GELU in its exact form.
pub fn gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    // Written out: burn's own gelu has the derivative of the tanh approximation on some devices.
    cpu::gelu::gelu(&input).unwrap_or_else(|| {
        let below = (input.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0;
        input * below * 0.5
    })
}

/// `norm(branch · mask + residual) · weight + bias`, over the last axis.
///
/// # Shapes
///
/// `[rows, tokens, hidden]` throughout.
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

/// Attention of `heads` heads over projections, with dropout on the probabilities.
///
/// # Shapes
///
/// `[rows, queries, hidden]`, `[rows, keys, hidden]` twice and `[1, heads, keys, keys]` to
/// `[rows, queries, hidden]`.
pub fn attention(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    relative: Option<&Tensor<4>>,
    setting: Setting,
) -> Tensor<3> {
    let fused = cpu::attention::attention(&query, &key, &value, relative, setting.clone());
    fused.unwrap_or_else(|| {
        let [rows, queries, hidden] = query.dims();
        let keys = key.dims()[1];
        let (heads, device) = (setting.heads, query.device());
        // [rows, tokens, hidden] → [rows, heads, tokens, size]
        let split = |projected: Tensor<3>| {
            let [_, tokens, _] = projected.dims();
            projected.reshape([rows, tokens, heads, hidden / heads]).swap_dims(1, 2)
        };
        let scale = ((hidden / heads) as f64).sqrt();
        let mut scores = split(query).matmul(split(key).transpose()) / scale;
        if let Some(relative) = relative {
            scores = scores + relative.clone().slice([0..1, 0..heads, 0..queries]);
        }
        if let Some(padding) = setting.padding {
            let padding = burn::tensor::TensorData::new(padding, [rows, 1, 1, keys]);
            scores = scores + Tensor::from_data(padding, &device);
        }
        let mut probabilities = activation::softmax(scores, 3); // [rows, heads, queries, keys]
        if let Some(mask) = setting.mask {
            let mask = mask.probabilities([rows, heads, queries, keys], &device);
            probabilities = probabilities * mask;
        }
        let attended = probabilities.matmul(split(value)).swap_dims(1, 2);
        attended.reshape([rows, queries, hidden]) // from [rows, queries, heads, size]
    })
}

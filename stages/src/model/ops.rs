//! The network's operations, on whatever device the tensors live: on the CPU the fused ones of
//! [`super::cpu`], elsewhere burn's own.

use burn::tensor::{DType, Device, Tensor, activation};

use super::cpu;
use super::cpu::attention::Setting;
use super::noise::Mask;
use crate::stage::params::Params;

/// Of the matrix products; parameters, sums, norms, softmax and the optimiser are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    /// Factors are rounded to bfloat16 first, as in PyTorch's autocast; on the CPU all but those
    /// of attention, which are small.
    Bf16,
}

impl Precision {
    /// As a stage's parameter `precision` has it.
    pub fn of(params: &Params) -> Precision {
        if params.text("precision") == "bf16" { Precision::Bf16 } else { Precision::F32 }
    }

    /// What to tell a person who asked for this precision on this device, if anything.
    pub fn advice(self, device: &Device) -> Option<String> {
        let in_vain =
            self == Precision::Bf16 && *device == Device::flex() && !cpu::bfloat16::is_fast();
        in_vain.then(|| {
            "this CPU multiplies bfloat16 no faster than f32: `precision: bf16` saves no time"
                .to_owned()
        })
    }

    /// A factor of a product.
    fn factor<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Precision::F32 => tensor,
            Precision::Bf16 => tensor.cast(DType::BF16),
        }
    }

    /// A product of such factors.
    fn product<const D: usize>(self, tensor: Tensor<D>) -> Tensor<D> {
        match self {
            Precision::F32 => tensor,
            Precision::Bf16 => tensor.cast(DType::F32),
        }
    }
}

/// Whether the values lie in this process's memory.
pub fn is_on_host<const D: usize>(tensor: &Tensor<D>) -> bool {
    !matches!(cpu::place(tensor), cpu::Place::Elsewhere)
}

/// `left + right` of the same shape, outside of automatic differentiation; on the CPU in the memory of
/// `left`, if that is nobody else's.
pub fn sum<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> Tensor<D> {
    // Nothing may hold on to `left` when its memory is written to.
    match cpu::place(&right) {
        cpu::Place::Plain(right) => cpu::sum(left, &right),
        _ => left + right,
    }
}

/// [`sum`] of tables on the CPU of which `right` is 0 outside of these rows.
pub fn sum_of_rows(left: Tensor<2>, right: &Tensor<2>, rows: &[usize]) -> Tensor<2> {
    match cpu::place(right) {
        cpu::Place::Plain(right) => cpu::sum_of_rows(left, &right, rows),
        _ => left + right.clone(),
    }
}

/// `y = x W + b`.
///
/// # Shapes
///
/// `[…, in]`, `[in, out]` and `[out]` to `[…, out]`.
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
    let precision = setting.precision;
    let fused = cpu::attention::attention(&query, &key, &value, relative, setting.clone());
    fused.unwrap_or_else(|| {
        let [rows, queries, hidden] = query.dims();
        let keys = key.dims()[1];
        let (heads, device) = (setting.heads, query.device());
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
        if let Some(padding) = setting.padding {
            let padding = burn::tensor::TensorData::new(padding, [rows, 1, 1, keys]);
            scores = scores + Tensor::from_data(padding, &device);
        }
        let mut probabilities = activation::softmax(scores, 3); // [rows, heads, queries, keys]
        if let Some(mask) = setting.mask {
            let mask = mask.probabilities([rows, heads, queries, keys], &device);
            probabilities = probabilities * mask;
        }
        let attended = precision.factor(probabilities).matmul(split(value)).swap_dims(1, 2);
        precision.product(attended.reshape([rows, queries, hidden])) // from [rows, queries, heads, size]
    })
}

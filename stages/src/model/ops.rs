//! The operations of the network on any device: the fused kernels of [`super::cpu`] on the CPU,
//! those of `super::device` on a GPU, and burn's own operations where neither has one.

use burn::tensor::{Tensor, activation};

use super::affine::Affine;
use super::cpu;
use super::cpu::attention::AttentionOptions;
#[cfg(feature = "device")]
use super::device;
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

/// A weight as a GPU multiplies it, if it has been made.
#[derive(Clone, Debug, Default)]
pub struct Factor {
    #[cfg(feature = "device")]
    weight: Option<burn_cubecl::tensor::CubeTensor>,
}

#[cfg(feature = "device")]
impl Factor {
    pub fn new(weight: Option<&burn_cubecl::tensor::CubeTensor>) -> Factor {
        Factor { weight: weight.cloned() }
    }

    fn of_gpu(&self) -> Option<&burn_cubecl::tensor::CubeTensor> {
        self.weight.as_ref()
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
        let mut shape = [1; D];
        shape[D - 1] = bias.dims()[0];
        product(input, weight, precision) + bias.clone().reshape(shape)
    })
}

/// `x W`, not on the CPU.
fn product<const D: usize>(
    input: Tensor<D>,
    weight: &Tensor<2>,
    precision: Precision,
) -> Tensor<D> {
    #[cfg(feature = "device")]
    if let Some(product) = device::linear::product(&input, weight, None, precision) {
        return product;
    }
    let weight = precision.factor(weight.clone());
    precision.product(burn::tensor::module::linear(precision.factor(input), weight, None))
}

/// `gelu(x W + b)`, for a result that only products read: on a GPU it has the format of their
/// factors.
///
/// # Shapes
///
/// As for [`linear`].
#[cfg_attr(not(feature = "device"), expect(unused_variables, reason = "a GPU takes the factor"))]
pub fn linear_gelu<const D: usize>(
    input: Tensor<D>,
    affine: Affine,
    factor: &Factor,
    precision: Precision,
) -> Tensor<D> {
    #[cfg(feature = "device")]
    if let Some(product) =
        device::linear::product(&input, affine.weight, factor.of_gpu(), precision)
    {
        let fused = device::gelu::bias_gelu(&product, affine.bias, precision);
        return fused.unwrap_or_else(|| unreachable!("the product is on a GPU"));
    }
    gelu(linear(input, affine.weight, affine.bias, precision))
}

/// Exact GELU.
pub fn gelu<const D: usize>(input: Tensor<D>) -> Tensor<D> {
    // Not burn's gelu: on some devices its derivative is that of the tanh approximation.
    cpu::gelu::gelu(&input).unwrap_or_else(|| {
        let below = (input.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0;
        input * below * 0.5
    })
}

/// `norm(linear(input) · mask + residual) · weight + bias`, normalised over the last axis.
///
/// # Shapes
///
/// `input` is `[rows, tokens, in]`, `residual` and the result are `[rows, tokens, hidden]`.
#[cfg_attr(not(feature = "device"), expect(unused_variables, reason = "a GPU takes the factor"))]
pub fn linear_add_norm(
    input: Tensor<3>,
    (affine, factor): (Affine, &Factor),
    residual: Tensor<3>,
    mask: Option<Mask>,
    (weight, bias, eps): (&Tensor<1>, &Tensor<1>, f64),
    precision: Precision,
) -> Tensor<3> {
    #[cfg(feature = "device")]
    if let Some(branch) = device::linear::product(&input, affine.weight, factor.of_gpu(), precision)
    {
        let parameters = [affine.bias, weight, bias];
        let mask = mask.as_ref();
        let fused =
            device::add_norm::add_norm(&branch, &residual, mask, parameters, eps, precision);
        return fused.unwrap_or_else(|| unreachable!("the product is on a GPU"));
    }
    let branch = linear(input, affine.weight, affine.bias, precision);
    let fused = cpu::norm::add_norm(&branch, &residual, mask.clone(), weight, bias, eps);
    fused.unwrap_or_else(|| {
        let sum = dropout(branch, mask.as_ref()) + residual;
        burn::tensor::module::layer_norm(sum, weight.clone(), Some(bias.clone()), eps)
    })
}

/// `-Σ targets · ln softmax(logits)`.
///
/// # Shapes
///
/// Both are `[rows, classes]`. The result is `[1]`.
pub fn cross_entropy(logits: Tensor<2>, targets: &Tensor<2>) -> Tensor<1> {
    #[cfg(feature = "device")]
    if let Some(loss) = device::cross_entropy::cross_entropy(&logits, targets) {
        return loss;
    }
    (activation::log_softmax(logits, 1) * targets.clone()).sum().neg()
}

/// Multiplies by the mask, if there is one.
pub fn dropout(states: Tensor<3>, mask: Option<&Mask>) -> Tensor<3> {
    match mask {
        Some(mask) => {
            #[cfg(feature = "device")]
            if let Some(dropped) = device::dropout::dropout(&states, mask) {
                return dropped;
            }
            let mask = mask.states(states.dims(), &states.device());
            states * mask
        }
        None => states,
    }
}

/// Multi-head attention with its projections, and dropout on the probabilities.
///
/// # Shapes
///
/// `asking` is `[rows, queries, hidden]`, `states` is `[rows, keys, hidden]`, `relative` is
/// `[1, heads, keys, keys]`. The result is `[rows, queries, hidden]`.
#[cfg_attr(not(feature = "device"), expect(unused_variables, reason = "a GPU takes the factor"))]
pub fn self_attention(
    asking: Tensor<3>,
    states: Tensor<3>,
    ([query, key, value], factor): ([Affine; 3], &Factor),
    relative: Option<&Tensor<4>>,
    options: AttentionOptions,
) -> Tensor<3> {
    let precision = options.precision;
    #[cfg(feature = "device")]
    if let Some(factor) = factor.of_gpu() {
        let affines = [query, key, value];
        let fused = device::attention::layer(&asking, &states, affines, factor, relative, &options);
        if let Some(attended) = fused {
            return attended;
        }
    }
    let query = linear(asking, query.weight, query.bias, precision);
    let key = linear(states.clone(), key.weight, key.bias, precision);
    let value = linear(states, value.weight, value.bias, precision);
    attention(query, key, value, relative, options)
}

/// Multi-head attention over projections, with dropout on the probabilities.
///
/// # Shapes
///
/// `query` is `[rows, queries, hidden]`, `key` and `value` are `[rows, keys, hidden]`, `relative`
/// is `[1, heads, keys, keys]`. The result is `[rows, queries, hidden]`.
fn attention(
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

//! The operations of the network on any device: the fused kernels of [`super::cpu`] on the CPU,
//! those of `super::device` on a GPU, and burn's own operations where neither has one.

use burn::tensor::{Tensor, TensorData, activation};

use super::affine::{Affine, Weight};
use super::cpu;
use super::cpu::attention::{AttentionOptions, Relative};
#[cfg(feature = "device")]
use super::device;
use super::generic_attention::generic_attention;
use super::noise::Mask;
use super::precision::Precision;
use crate::family::Activation;

/// Whether the values are in the memory of this process.
pub fn is_on_host<const D: usize>(tensor: &Tensor<D>) -> bool {
    !matches!(cpu::backing(tensor), cpu::Backing::Elsewhere)
}

/// A tensor of its own with the same values, if it is on a GPU.
#[cfg(feature = "device")]
pub fn copied_on_device<const D: usize>(tensor: &Tensor<D>) -> Option<Tensor<D>> {
    device::graph::copied(tensor)
}

#[cfg(not(feature = "device"))]
pub fn copied_on_device<const D: usize>(_: &Tensor<D>) -> Option<Tensor<D>> {
    None
}

/// The bytes that are free on the GPU that a tensor is on; `None` if that is not known.
#[cfg(feature = "device")]
pub fn free_bytes_beside<const D: usize>(tensor: &Tensor<D>) -> Option<u64> {
    device::free_bytes(tensor)
}

#[cfg(not(feature = "device"))]
pub fn free_bytes_beside<const D: usize>(_: &Tensor<D>) -> Option<u64> {
    None
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

/// What a product on a GPU reads instead of f32, as far as it has been made.
#[cfg(feature = "device")]
pub use super::device::linear::Factor;

/// A GPU has more than this.
#[cfg(not(feature = "device"))]
#[derive(Clone, Debug, Default)]
pub struct Factor {}

#[cfg(not(feature = "device"))]
impl Factor {
    /// Those of query, key and value.
    pub fn apart(&self) -> [Factor; 3] {
        Default::default()
    }
}

/// `y = x W + b`. `factor` has what a product on a GPU reads.
///
/// # Shapes
///
/// `[…, in]` to `[…, out]`.
pub fn linear<const D: usize>(
    input: Tensor<D>,
    affine: &Affine,
    factor: &Factor,
    precision: Precision,
) -> Tensor<D> {
    let Affine { weight, bias } = affine;
    let weight = match weight {
        Weight::Floats(weight) => weight,
        Weight::Int8(weight) => {
            let [output] = cpu::int8::linear(&input, [(weight, bias)], None);
            return output;
        }
    };
    cpu::linear::linear(&input, weight, bias, precision).unwrap_or_else(|| {
        let mut shape = [1; D];
        shape[D - 1] = bias.dims()[0];
        let sum = product(input, weight, factor, precision) + bias.clone().reshape(shape);
        #[cfg(feature = "device")]
        let sum = device::format::with_gradient_in_floats(sum);
        sum
    })
}

/// `x W`, not on the CPU.
#[cfg_attr(not(feature = "device"), expect(unused_variables, reason = "a GPU takes the factor"))]
fn product<const D: usize>(
    input: Tensor<D>,
    weight: &Tensor<2>,
    factor: &Factor,
    precision: Precision,
) -> Tensor<D> {
    #[cfg(feature = "device")]
    if let Some(product) = device::linear::product(&input, weight, factor, precision) {
        return product;
    }
    let weight = precision.factor(weight.clone());
    precision.product(burn::tensor::module::linear(precision.factor(input), weight, None))
}

/// `activation(x W + b)`, for a result that only products read: on a GPU it has the format of their
/// factors.
///
/// # Shapes
///
/// As for [`linear`].
pub fn linear_activation<const D: usize>(
    input: Tensor<D>,
    affine: &Affine,
    kind: Activation,
    factor: &Factor,
    precision: Precision,
) -> Tensor<D> {
    #[cfg(feature = "device")]
    if kind == Activation::Gelu
        && let Some(weight) = affine.weight.floats()
        && let Some(product) = device::linear::product(&input, weight, factor, precision)
    {
        let fused = device::gelu::bias_gelu(&product, &affine.bias, precision);
        return fused.unwrap_or_else(|| unreachable!("the product is on a GPU"));
    }
    if let Weight::Int8(weight) = &affine.weight {
        let [output] = cpu::int8::linear(&input, [(weight, &affine.bias)], Some(kind));
        return output;
    }
    activated(linear(input, affine, factor, precision), kind)
}

/// The activation of every element.
pub fn activated<const D: usize>(input: Tensor<D>, kind: Activation) -> Tensor<D> {
    cpu::activation::activation(&input, kind).unwrap_or_else(|| match kind {
        // Not burn's gelu: on some devices its derivative is that of the tanh approximation.
        Activation::Gelu => {
            let below = (input.clone() * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0;
            input * below * 0.5
        }
        Activation::GeluTanh => {
            let inner = input.clone() + input.clone().powi_scalar(3) * 0.044_715;
            let scale = (2.0 * std::f64::consts::FRAC_1_PI).sqrt();
            input * ((inner * scale).tanh() + 1.0) * 0.5
        }
        Activation::Relu => activation::relu(input),
        Activation::Silu => activation::silu(input),
        Activation::Tanh => input.tanh(),
    })
}

/// The activation of the first half of the features, times the second half and the mask, for a result that
/// only products read: on a GPU it has the format of their factors.
///
/// # Shapes
///
/// `[rows, tokens, 2 · features]` to `[rows, tokens, features]`.
#[cfg_attr(not(feature = "device"), expect(unused_variables, reason = "a GPU takes the precision"))]
pub fn gated(
    input: Tensor<3>,
    kind: Activation,
    mask: Option<&Mask>,
    precision: Precision,
) -> Tensor<3> {
    #[cfg(feature = "device")]
    if kind == Activation::Gelu
        && let Some(gated) = device::gated_gelu::gated_gelu(&input, mask, precision)
    {
        return gated;
    }
    let gated = cpu::activation::gated(&input, kind).unwrap_or_else(|| {
        let features = input.dims()[2] / 2;
        let gate = input.clone().narrow(2, features, features);
        activated(input.narrow(2, 0, features), kind) * gate
    });
    dropout(gated, mask)
}

/// Layer norm over the last axis, for a result that only products read: on a GPU it has the format of
/// their factors.
///
/// # Shapes
///
/// `[rows, tokens, hidden]` to the same.
#[cfg_attr(not(feature = "device"), expect(unused_variables, reason = "a GPU takes the precision"))]
pub fn norm(
    input: Tensor<3>,
    (weight, bias, eps): (&Tensor<1>, &Tensor<1>, f64),
    precision: Precision,
) -> Tensor<3> {
    #[cfg(feature = "device")]
    if let Some(norm) = device::layer_norm::layer_norm(&input, weight, bias, eps, precision) {
        return norm;
    }
    cpu::norm::norm(&input, weight, bias, eps).unwrap_or_else(|| {
        burn::tensor::module::layer_norm(input, weight.clone(), Some(bias.clone()), eps)
    })
}

/// `norm(linear(input) · mask + residual) · weight + bias`, normalised over the last axis.
///
/// # Shapes
///
/// `input` is `[rows, tokens, in]`, `residual` and the result are `[rows, tokens, hidden]`.
pub fn linear_add_norm(
    input: Tensor<3>,
    (affine, factor): (&Affine, &Factor),
    residual: Tensor<3>,
    mask: Option<Mask>,
    (weight, bias, eps): (&Tensor<1>, &Tensor<1>, f64),
    precision: Precision,
) -> Tensor<3> {
    #[cfg(feature = "device")]
    if let Some(factors) = affine.weight.floats()
        && let Some(branch) = device::linear::product(&input, factors, factor, precision)
    {
        let parameters = [&affine.bias, weight, bias];
        let mask = mask.as_ref();
        let (eps, twins) = (eps, &factor.twins);
        let fused =
            device::add_norm::add_norm(&branch, &residual, mask, parameters, eps, precision, twins);
        return fused.unwrap_or_else(|| unreachable!("the product is on a GPU"));
    }
    let branch = linear(input, affine, factor, precision);
    let fused = cpu::norm::add_norm(&branch, &residual, mask.clone(), weight, bias, eps);
    fused.unwrap_or_else(|| {
        let sum = dropout(branch, mask.as_ref()) + residual;
        burn::tensor::module::layer_norm(sum, weight.clone(), Some(bias.clone()), eps)
    })
}

/// The weighted mean of the states of each row. `shares` has the weights, `[rows, tokens]`.
///
/// # Shapes
///
/// `[rows, tokens, hidden]` to `[rows, hidden]`.
pub fn mean(states: Tensor<3>, shares: Vec<f32>) -> Tensor<2> {
    cpu::pooling::mean(&states, &shares).unwrap_or_else(|| {
        let [rows, tokens, _] = states.dims();
        #[cfg(feature = "device")]
        device::sent::note();
        let shares = TensorData::new(shares, [rows, tokens, 1]);
        mean_by(states.clone(), Tensor::from_data(shares, &states.device()))
    })
}

/// [`mean`] with the shares on the device, `[rows, tokens, 1]`.
pub fn mean_by(states: Tensor<3>, shares: Tensor<3>) -> Tensor<2> {
    let [rows, _, hidden] = states.dims();
    // Not a product of matrices, whose factors a GPU might round.
    (states * shares).sum_dim(1).reshape([rows, hidden]) // from [rows, 1, hidden]
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
    total(activation::log_softmax(logits, 1) * targets.clone()).neg()
}

/// The sum of all elements, `[1]`, in a fixed order. On a GPU burn's own `sum` adds the parts of a larger
/// tensor in whatever order they are ready.
pub fn total<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    if is_on_host(&tensor) {
        return tensor.sum();
    }
    let count = tensor.shape().num_elements();
    tensor.reshape([1, count]).sum_dim(1).reshape([1])
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
/// `asking`, the first tokens of each row of `states` or all of them, is `[rows, queries, hidden]`,
/// `states` is `[rows, keys, hidden]`. The result is `[rows, queries, hidden]`.
pub fn self_attention(
    asking: Tensor<3>,
    states: Tensor<3>,
    (projections, factor): (&[Affine; 3], &Factor),
    relative: &Relative,
    options: AttentionOptions,
) -> Tensor<3> {
    let precision = options.precision;
    #[cfg(feature = "device")]
    {
        let fused = match relative {
            Relative::Absent => Some(None),
            Relative::Bias(bias) => Some(Some(&**bias)),
            Relative::Products(_) => None,
        };
        let fused = fused.and_then(|bias| {
            device::attention::layer(&asking, &states, projections, factor, bias, &options)
        });
        if let Some(attended) = fused {
            return attended;
        }
    }
    let [query, key, value] = projected(asking, states, (projections, factor), precision);
    let fused = cpu::attention::attention([&query, &key, &value], relative, options.clone());
    fused.unwrap_or_else(|| generic_attention([query, key, value], relative, options))
}

/// Query, key and value. In 8 bits the states are rounded once for all that read them.
fn projected(
    asking: Tensor<3>,
    states: Tensor<3>,
    (projections, factor): (&[Affine; 3], &Factor),
    precision: Precision,
) -> [Tensor<3>; 3] {
    let [query, key, value] = projections;
    let rounded = projections.each_ref().map(|it| Some((it.weight.rounded()?, &it.bias)));
    let [Some(of_query), Some(of_key), Some(of_value)] = rounded else {
        let factors = factor.apart();
        return [
            linear(asking, query, &factors[0], precision),
            linear(states.clone(), key, &factors[1], precision),
            linear(states, value, &factors[2], precision),
        ];
    };
    if asking.dims() == states.dims() {
        return cpu::int8::linear(&states, [of_query, of_key, of_value], None);
    }
    let [query] = cpu::int8::linear(&asking, [of_query], None);
    let [key, value] = cpu::int8::linear(&states, [of_key, of_value], None);
    [query, key, value]
}

/// Multi-head attention of the first `queries` tokens to all, whose queries, keys and values are
/// side by side.
///
/// # Shapes
///
/// `[rows, keys, 3 · hidden]` to `[rows, queries, hidden]`.
pub fn joint_attention(
    projected: Tensor<3>,
    queries: usize,
    options: AttentionOptions,
) -> Tensor<3> {
    #[cfg(feature = "device")]
    let (projected, options) = device::rotation::rotated_joint(projected, options);
    #[cfg(feature = "device")]
    if let Some(attended) = device::attention::joint(&projected, queries, &options) {
        return attended;
    }
    let fused = cpu::attention::joint_attention(&projected, queries, options.clone());
    fused.unwrap_or_else(|| {
        let [rows, keys, width] = projected.dims();
        let hidden = width / 3;
        let part = |which: usize, tokens: usize| {
            let range = which * hidden..(which + 1) * hidden;
            projected.clone().slice([0..rows, 0..tokens, range])
        };
        let parts = [part(0, queries), part(1, keys), part(2, keys)];
        generic_attention(parts, &Relative::Absent, options)
    })
}

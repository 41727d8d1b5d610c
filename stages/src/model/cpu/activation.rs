//! Activation functions, alone and multiplied by a gate. One pass computes the value and the
//! derivative.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use super::vector::{erf, exp, vectorised};
use super::{Backing, backing, contiguous, tensor, values};
use crate::family::Activation;

/// Elements per task.
const CHUNK: usize = 1 << 14;

/// The activation of every element; `None` if the tensor is not on the CPU.
pub fn activation<const D: usize>(input: &Tensor<D>, kind: Activation) -> Option<Tensor<D>> {
    match backing(input) {
        Backing::Plain(input) => {
            Some(Tensor::from_primitive::<Flex>(forward(&input, kind, false).0))
        }
        Backing::Recorded(input) => {
            let (input, node) = input.into_parts();
            let prepared = Activated.prepare::<NoCheckpointing>([node]).compute_bound().stateful();
            let output = match prepared {
                OpsKind::Tracked(prepared) => {
                    let (output, derivative) = forward(&input, kind, true);
                    prepared.finish(derivative, output)
                }
                OpsKind::UnTracked(prepared) => prepared.finish(forward(&input, kind, false).0),
            };
            Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
        }
        Backing::Elsewhere => None,
    }
}

/// The activation of the first half of the features, times the second half (Shazeer 2020); `None`
/// if the tensor is not on the CPU.
///
/// # Shapes
///
/// `[rows, tokens, 2 · features]` to `[rows, tokens, features]`.
pub fn gated(input: &Tensor<3>, kind: Activation) -> Option<Tensor<3>> {
    match backing(input) {
        Backing::Plain(input) => {
            Some(Tensor::from_primitive::<Flex>(gated_forward(&contiguous(&input), kind)))
        }
        Backing::Recorded(input) => {
            let (input, node) = input.into_parts();
            let input = contiguous(&input);
            let output = gated_forward(&input, kind);
            let prepared = Gated.prepare::<NoCheckpointing>([node]).compute_bound().stateful();
            let output = match prepared {
                OpsKind::Tracked(prepared) => prepared.finish((input, kind), output),
                OpsKind::UnTracked(prepared) => prepared.finish(output),
            };
            Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
        }
        Backing::Elsewhere => None,
    }
}

fn gated_forward(input: &FlexTensor, kind: Activation) -> FlexTensor {
    let [rows, tokens, width] = input.shape().dims::<3>();
    let features = width / 2;
    let mut output = vec![0.0; rows * tokens * features];
    output.par_chunks_mut(features.max(1)).zip(values(input).par_chunks(width.max(1))).for_each(
        |(output, input)| {
            let (input, gate) = input.split_at(features);
            value(kind, input, output);
            multiply(output, gate);
        },
    );
    tensor(output, [rows, tokens, features])
}

#[derive(Debug)]
struct Gated;

impl Backward<Flex, 1> for Gated {
    type State = (FlexTensor, Activation);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (input, kind) = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| {
            let gradient = contiguous(&gradient);
            let [rows, tokens, width] = input.shape().dims::<3>();
            let features = width / 2;
            let mut result = vec![0.0; rows * tokens * width];
            result
                .par_chunks_mut(width.max(1))
                .zip(values(&input).par_chunks(width.max(1)))
                .zip(values(&gradient).par_chunks(features.max(1)))
                .for_each(|((result, input), gradient)| {
                    let (input, gate) = input.split_at(features);
                    let (of_input, of_gate) = result.split_at_mut(features);
                    both(kind, input, of_gate, of_input);
                    multiply(of_gate, gradient);
                    multiply(of_input, gradient);
                    multiply(of_input, gate);
                });
            tensor(result, [rows, tokens, width])
        });
    }
}

fn multiply(values: &mut [f32], factors: &[f32]) {
    for (value, factor) in values.iter_mut().zip(factors) {
        *value *= factor;
    }
}

#[derive(Debug)]
struct Activated;

impl Backward<Flex, 1> for Activated {
    /// The derivative at each element.
    type State = FlexTensor;

    fn backward(self, ops: Ops<FlexTensor, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let derivative = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, grads, |gradient| {
            let gradient = contiguous(&gradient);
            let mut result = vec![0.0; values(&gradient).len()];
            result
                .par_chunks_mut(CHUNK)
                .zip(values(&gradient).par_chunks(CHUNK))
                .zip(values(&derivative).par_chunks(CHUNK))
                .for_each(|((result, gradient), derivative)| {
                    for ((result, gradient), derivative) in
                        result.iter_mut().zip(gradient).zip(derivative)
                    {
                        *result = gradient * derivative;
                    }
                });
            FlexTensor::from_data(TensorData::new(result, gradient.shape()))
        });
    }
}

/// The output and, with `with_derivative`, the derivative at each element.
fn forward(
    input: &FlexTensor,
    kind: Activation,
    with_derivative: bool,
) -> (FlexTensor, FlexTensor) {
    let input = contiguous(input);
    let source = values(&input);
    let mut output = vec![0.0; source.len()];
    let mut derivative = vec![0.0; if with_derivative { source.len() } else { 0 }];
    if with_derivative {
        output
            .par_chunks_mut(CHUNK)
            .zip(derivative.par_chunks_mut(CHUNK))
            .zip(source.par_chunks(CHUNK))
            .for_each(|((output, derivative), source)| both(kind, source, output, derivative));
    } else {
        output
            .par_chunks_mut(CHUNK)
            .zip(source.par_chunks(CHUNK))
            .for_each(|(output, source)| value(kind, source, output));
    }
    let count = derivative.len();
    (
        FlexTensor::from_data(TensorData::new(output, input.shape())),
        FlexTensor::from_data(TensorData::new(derivative, [count])),
    )
}

/// The activation of every element, in place.
pub(super) fn activate(kind: Activation, values: &mut [f32]) {
    const FEW: usize = 512;
    let mut before = [0.0; FEW];
    for values in values.chunks_mut(FEW) {
        let before = &mut before[..values.len()];
        before.copy_from_slice(values);
        value(kind, before, values);
    }
}

fn value(kind: Activation, source: &[f32], output: &mut [f32]) {
    match kind {
        Activation::Gelu => gelu(source, output),
        Activation::GeluTanh => gelu_tanh(source, output),
        Activation::Relu => relu(source, output),
        Activation::Silu => silu(source, output),
        Activation::Tanh => tanh(source, output),
    }
}

fn both(kind: Activation, source: &[f32], output: &mut [f32], derivative: &mut [f32]) {
    match kind {
        Activation::Gelu => gelu_and_derivative(source, output, derivative),
        Activation::GeluTanh => gelu_tanh_and_derivative(source, output, derivative),
        Activation::Relu => relu_and_derivative(source, output, derivative),
        Activation::Silu => silu_and_derivative(source, output, derivative),
        Activation::Tanh => tanh_and_derivative(source, output, derivative),
    }
}

vectorised! {
    fn gelu(source: &[f32], output: &mut [f32]) {
        for (x, output) in source.iter().zip(output) {
            let below = 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
            *output = *x * below;
        }
    }
}

vectorised! {
    fn gelu_and_derivative(source: &[f32], output: &mut [f32], derivative: &mut [f32]) {
        // 1 / sqrt(2 π)
        const DENSITY: f32 = 0.398_942_3;
        for ((x, output), derivative) in source.iter().zip(output).zip(derivative) {
            let below = 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
            *output = *x * below;
            *derivative = below + *x * DENSITY * exp(-0.5 * *x * *x);
        }
    }
}

/// `1 / (1 + e^-x)`
#[inline(always)]
fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// sqrt(2 / π), and the weight of the cube.
const TANH_SCALE: f32 = 0.797_884_6;
const CUBE: f32 = 0.044_715;

// 0.5 · (1 + tanh(y)) = logistic(2 y)
vectorised! {
    fn gelu_tanh(source: &[f32], output: &mut [f32]) {
        for (x, output) in source.iter().zip(output) {
            *output = *x * logistic(2.0 * TANH_SCALE * (*x + CUBE * *x * *x * *x));
        }
    }
}

vectorised! {
    fn gelu_tanh_and_derivative(source: &[f32], output: &mut [f32], derivative: &mut [f32]) {
        for ((x, output), derivative) in source.iter().zip(output).zip(derivative) {
            let below = logistic(2.0 * TANH_SCALE * (*x + CUBE * *x * *x * *x));
            let inner = 2.0 * TANH_SCALE * (1.0 + 3.0 * CUBE * *x * *x);
            *output = *x * below;
            *derivative = below + *x * below * (1.0 - below) * inner;
        }
    }
}

/// NaN stays NaN: `max` alone would hide it.
#[inline(always)]
fn positive_part(x: f32) -> f32 {
    if x.is_nan() { x } else { x.max(0.0) }
}

vectorised! {
    fn relu(source: &[f32], output: &mut [f32]) {
        for (x, output) in source.iter().zip(output) {
            *output = positive_part(*x);
        }
    }
}

vectorised! {
    fn relu_and_derivative(source: &[f32], output: &mut [f32], derivative: &mut [f32]) {
        for ((x, output), derivative) in source.iter().zip(output).zip(derivative) {
            *output = positive_part(*x);
            *derivative = if *x > 0.0 { 1.0 } else { 0.0 };
        }
    }
}

vectorised! {
    fn silu(source: &[f32], output: &mut [f32]) {
        for (x, output) in source.iter().zip(output) {
            *output = *x * logistic(*x);
        }
    }
}

vectorised! {
    fn silu_and_derivative(source: &[f32], output: &mut [f32], derivative: &mut [f32]) {
        for ((x, output), derivative) in source.iter().zip(output).zip(derivative) {
            let share = logistic(*x);
            *output = *x * share;
            *derivative = share + *x * share * (1.0 - share);
        }
    }
}

vectorised! {
    fn tanh(source: &[f32], output: &mut [f32]) {
        for (x, output) in source.iter().zip(output) {
            *output = 2.0 * logistic(2.0 * *x) - 1.0;
        }
    }
}

vectorised! {
    fn tanh_and_derivative(source: &[f32], output: &mut [f32], derivative: &mut [f32]) {
        for ((x, output), derivative) in source.iter().zip(output).zip(derivative) {
            *output = 2.0 * logistic(2.0 * *x) - 1.0;
            *derivative = 1.0 - *output * *output;
        }
    }
}

//! Exact GELU, `x · Φ(x)` (Hendrycks & Gimpel 2016). One pass computes the value and the
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
use super::{Backing, backing, contiguous, values};

/// Elements per task.
const CHUNK: usize = 1 << 14;

/// GELU of every element; `None` if the tensor is not on the CPU.
pub fn gelu<const D: usize>(input: &Tensor<D>) -> Option<Tensor<D>> {
    match backing(input) {
        Backing::Plain(input) => Some(Tensor::from_primitive::<Flex>(forward(&input, false).0)),
        Backing::Recorded(input) => {
            let (input, node) = input.into_parts();
            let output = match Gelu.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
                OpsKind::Tracked(prepared) => {
                    let (output, derivative) = forward(&input, true);
                    prepared.finish(derivative, output)
                }
                OpsKind::UnTracked(prepared) => prepared.finish(forward(&input, false).0),
            };
            Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
        }
        Backing::Elsewhere => None,
    }
}

#[derive(Debug)]
struct Gelu;

impl Backward<Flex, 1> for Gelu {
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
fn forward(input: &FlexTensor, with_derivative: bool) -> (FlexTensor, FlexTensor) {
    let input = contiguous(input);
    let source = values(&input);
    let mut output = vec![0.0; source.len()];
    let mut derivative = vec![0.0; if with_derivative { source.len() } else { 0 }];
    if with_derivative {
        output
            .par_chunks_mut(CHUNK)
            .zip(derivative.par_chunks_mut(CHUNK))
            .zip(source.par_chunks(CHUNK))
            .for_each(|((output, derivative), source)| both(source, output, derivative));
    } else {
        output
            .par_chunks_mut(CHUNK)
            .zip(source.par_chunks(CHUNK))
            .for_each(|(output, source)| value(source, output));
    }
    let count = derivative.len();
    (
        FlexTensor::from_data(TensorData::new(output, input.shape())),
        FlexTensor::from_data(TensorData::new(derivative, [count])),
    )
}

vectorised! {
    fn value(source: &[f32], output: &mut [f32]) {
        for (x, output) in source.iter().zip(output) {
            let below = 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
            *output = *x * below;
        }
    }
}

vectorised! {
    fn both(source: &[f32], output: &mut [f32], derivative: &mut [f32]) {
        // 1 / sqrt(2 π)
        const DENSITY: f32 = 0.398_942_3;
        for ((x, output), derivative) in source.iter().zip(output).zip(derivative) {
            let below = 0.5 * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
            *output = *x * below;
            *derivative = below + *x * DENSITY * exp(-0.5 * *x * *x);
        }
    }
}

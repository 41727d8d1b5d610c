//! AdamW as PyTorch computes it (Loshchilov & Hutter 2019; `torch.optim.AdamW`), with the
//! gradient norm clipped as `torch.nn.utils.clip_grad_norm_` does.
//!
//! On the CPU one pass over all cores reads each gradient and updates parameter and moments in
//! place. Sums over a tensor go chunk by chunk in a fixed order, so that the number of threads
//! changes no bit.

use burn::backend::Flex;
use burn::tensor::Tensor;
use rayon::prelude::*;

use super::depth::Depth;
use super::step::Gradient;
use crate::model::parameters::{Network, Parameter, leaf};
use crate::params::Params;

/// The constants of AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    /// The largest norm of all gradients together; larger ones are scaled down to it. 0: never.
    pub max_gradient_norm: f64,
    /// What the learning rate is multiplied by for every layer below the head (Howard & Ruder
    /// 2018; the embeddings count as the lowest layer). 1: the same for all.
    pub layer_decay: f64,
    /// Of the encoder.
    pub layers: usize,
}

impl AdamW {
    /// As a training stage's parameters have it, for an encoder of so many layers.
    pub fn of(params: &Params, layers: usize) -> AdamW {
        AdamW {
            beta1: params.float("adam_beta1"),
            beta2: params.float("adam_beta2"),
            epsilon: params.float("adam_epsilon"),
            weight_decay: params.float("weight_decay"),
            max_gradient_norm: params.float("max_grad_norm"),
            layer_decay: 1.0,
            layers,
        }
    }
}

/// First and second moments of every parameter, in the order of `Network::parameters`.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    /// Optimiser steps taken.
    pub steps: u64,
    pub of: Vec<Moment>,
}

/// The moments of one parameter; absent until it has a gradient.
#[derive(Clone, Debug)]
pub enum Moment {
    /// On the CPU.
    Host {
        first: Vec<f32>,
        second: Vec<f32>,
    },
    /// Flattened, on another device: first and second.
    Device(Box<(Tensor<1>, Tensor<1>)>),
    None,
}

/// The scalars of one step, the same for every element.
#[derive(Clone, Copy)]
struct Scalars {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    /// `1 - lr · weight_decay`
    keep: f32,
    /// `lr / (1 - beta1^t)`
    rate: f32,
    /// `1 / sqrt(1 - beta2^t)`
    second_scale: f32,
}

impl AdamW {
    /// Updates every parameter that has a gradient. `gradients` are in the order of
    /// `Network::parameters`. Returns the norm of all gradients before clipping, where it
    /// costs no wait for the device.
    pub fn step(
        &self,
        model: &mut impl Network,
        gradients: Vec<Option<Gradient>>,
        moments: &mut Moments,
        learning_rate: f64,
    ) -> Option<f64> {
        moments.steps += 1;
        moments.of.resize(gradients.len(), Moment::None);
        let t = moments.steps.min(i32::MAX as u64) as i32;
        let scalars = |name: &str| {
            let below = Depth::of(name).below_head(self.layers).min(i32::MAX as usize);
            let learning_rate = learning_rate * self.layer_decay.powi(below as i32);
            let weight_decay = if decays(name) { self.weight_decay } else { 0.0 };
            Scalars {
                beta1: self.beta1 as f32,
                beta2: self.beta2 as f32,
                epsilon: self.epsilon as f32,
                keep: (1.0 - learning_rate * weight_decay) as f32,
                rate: (learning_rate / (1.0 - self.beta1.powi(t))) as f32,
                second_scale: (1.0 / (1.0 - self.beta2.powi(t)).sqrt()) as f32,
            }
        };
        let on_host = gradients.iter().flatten().next().is_some_and(Gradient::is_on_host);
        let parameters = model.parameters();
        if on_host {
            let gradients: Vec<Option<Vec<f32>>> =
                gradients.into_iter().map(|gradient| gradient.map(Gradient::into_host)).collect();
            let norm = gradients.iter().flatten().map(|values| sum_of_squares(values)).sum::<f64>();
            let norm = norm.sqrt();
            let clip = self.clip_factor(norm);
            for (index, (name, parameter)) in parameters.into_iter().enumerate() {
                let Some(gradient) = &gradients[index] else { continue };
                let moment = &mut moments.of[index];
                let scalars = scalars(&name);
                match parameter {
                    Parameter::Vector(tensor) => {
                        update_on_host(tensor, gradient, moment, clip, scalars);
                    }
                    Parameter::Weight(tensor) | Parameter::Table(tensor) => {
                        update_on_host(tensor, gradient, moment, clip, scalars);
                    }
                }
            }
            return Some(norm);
        }
        let gradients: Vec<Option<Tensor<1>>> =
            gradients.into_iter().map(|gradient| gradient.map(Gradient::into_flat)).collect();
        let clip = self.clip_factor_on_device(&gradients);
        for (index, (name, parameter)) in parameters.into_iter().enumerate() {
            let Some(mut gradient) = gradients[index].clone() else { continue };
            if let Some(clip) = &clip {
                gradient = gradient * clip.clone();
            }
            let moment = &mut moments.of[index];
            let scalars = scalars(&name);
            match parameter {
                Parameter::Vector(tensor) => update_on_device(tensor, gradient, moment, scalars),
                Parameter::Weight(tensor) | Parameter::Table(tensor) => {
                    update_on_device(tensor, gradient, moment, scalars);
                }
            }
        }
        None
    }

    fn clip_factor(&self, norm: f64) -> f32 {
        if self.max_gradient_norm <= 0.0 {
            return 1.0;
        }
        (self.max_gradient_norm / (norm + 1e-6)).min(1.0) as f32
    }

    fn clip_factor_on_device(&self, gradients: &[Option<Tensor<1>>]) -> Option<Tensor<1>> {
        if self.max_gradient_norm <= 0.0 {
            return None;
        }
        let squares = gradients.iter().flatten().map(|gradient| gradient.clone().square().sum());
        let norm = squares.reduce(|left, right| left + right)?.sqrt();
        Some(((norm + 1e-6).recip() * self.max_gradient_norm).clamp_max(1.0))
    }
}

/// Weight decay spares biases and layer norms, as transformers' `Trainer` does.
fn decays(name: &str) -> bool {
    let is_norm = name.contains("LayerNorm") || name.contains("layer_norm");
    !name.ends_with(".bias") && !is_norm
}

/// Elements that one task works on: small enough to share out, large enough to be worth it.
const CHUNK: usize = 1 << 15;

/// Sums each chunk in f64, then the chunks in order, whatever the number of threads.
fn sum_of_squares(values: &[f32]) -> f64 {
    let chunks: Vec<f64> = values
        .par_chunks(CHUNK)
        .map(|chunk| {
            // Eight lanes, so that the compiler can use vector instructions.
            let mut lanes = [0.0f64; 8];
            let (blocks, rest) = chunk.as_chunks::<8>();
            for block in blocks {
                for (lane, value) in lanes.iter_mut().zip(block) {
                    *lane += f64::from(*value) * f64::from(*value);
                }
            }
            let rest: f64 = rest.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
            lanes.iter().sum::<f64>() + rest
        })
        .collect();
    chunks.iter().sum()
}

fn update_on_host<const D: usize>(
    parameter: &mut Tensor<D>,
    gradient: &[f32],
    moment: &mut Moment,
    clip: f32,
    scalars: Scalars,
) {
    if !matches!(moment, Moment::Host { .. }) {
        let zeros = || vec![0.0; gradient.len()];
        *moment = Moment::Host { first: zeros(), second: zeros() };
    }
    let Moment::Host { first, second } = moment else { return };
    let shape = parameter.dims();
    // Taking the tensor out leaves its storage with one owner, so that it is updated in place.
    let empty = Tensor::<D>::zeros([0; D], &parameter.device().inner());
    let taken = std::mem::replace(parameter, empty).inner();
    let Ok(mut values) = taken.try_into_primitive::<Flex>() else {
        unreachable!("gradients on the host belong to parameters on the host")
    };
    values
        .storage_mut::<f32>()
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK))
        .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
        .for_each(|((values, gradient), (first, second))| {
            for (((value, gradient), first), second) in
                values.iter_mut().zip(gradient).zip(first).zip(second)
            {
                let gradient = gradient * clip;
                *first = scalars.beta1 * *first + (1.0 - scalars.beta1) * gradient;
                *second = scalars.beta2 * *second + (1.0 - scalars.beta2) * gradient * gradient;
                let denominator = second.sqrt() * scalars.second_scale + scalars.epsilon;
                *value = *value * scalars.keep - scalars.rate * *first / denominator;
            }
        });
    debug_assert_eq!(shape.iter().product::<usize>(), gradient.len());
    *parameter = leaf(Tensor::from_inner(Tensor::<D>::from_primitive::<Flex>(values)));
}

fn update_on_device<const D: usize>(
    parameter: &mut Tensor<D>,
    gradient: Tensor<1>,
    moment: &mut Moment,
    scalars: Scalars,
) {
    let (first, second) = match std::mem::replace(moment, Moment::None) {
        Moment::Device(both) => *both,
        _ => (gradient.zeros_like(), gradient.zeros_like()),
    };
    let first = first * scalars.beta1 + gradient.clone() * (1.0 - scalars.beta1);
    let second = second * scalars.beta2 + gradient.square() * (1.0 - scalars.beta2);
    let denominator = second.clone().sqrt() * scalars.second_scale + scalars.epsilon;
    let change = first.clone() / denominator * scalars.rate;
    let shape = parameter.dims();
    let value = parameter.clone().inner() * scalars.keep - change.reshape(shape);
    *parameter = leaf(Tensor::from_inner(value));
    *moment = Moment::Device(Box::new((first, second)));
}

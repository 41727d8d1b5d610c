//! AdamW as PyTorch computes it (Loshchilov & Hutter 2019; `torch.optim.AdamW`), with the
//! gradient norm clipped as `torch.nn.utils.clip_grad_norm_` does.
//!
//! Sums over a tensor run chunk by chunk in a fixed order, so the result does not depend on the
//! number of threads.

#[cfg(feature = "device")]
mod device;
mod host;
mod moments;
mod scalars;

use std::path::Path;

use burn::tensor::Tensor;

use super::depth::Depth;
use super::gradient::{Gradient, HostGradient};
use crate::data::finite::first_not_finite;
use crate::model::parameters::{Network, Parameter, leaf};
use crate::stage::error::StageError;
use scalars::Scalars;

#[cfg(feature = "device")]
pub use device::make_room;
pub use moments::{Moment, Moments};

/// The squares of larger gradients overflow in the second moments, and then a parameter would never
/// change again.
const LARGEST_NORM: f64 = 1e19;

/// The constants of AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    /// The maximum norm of all gradients together; larger gradients are scaled down. 0 means no
    /// limit.
    pub max_gradient_norm: f64,
    /// The factor of the learning rate per layer below the head (Howard & Ruder 2018). The
    /// embeddings count as the lowest layer. 1 means the same rate for all.
    pub layer_decay: f64,
    /// The number of layers of the encoder.
    pub layers: usize,
}

impl AdamW {
    /// Updates every parameter that has a gradient. `gradients` are in the order of
    /// `Network::parameters`.
    ///
    /// On a GPU, reading whether the step succeeded would wait, so it returns, there,
    /// `[norm, clip factor, whether the norm is accepted, updated value]`: a norm that is not accepted
    /// is an error, and so is a last number other than 0, which is a value that is not finite.
    /// Elsewhere it returns `None`.
    ///
    /// # Errors
    /// A gradient is not finite, or so large that its square is not; then nothing has changed.
    /// An updated parameter is not finite.
    pub fn step(
        &self,
        model: &mut impl Network,
        gradients: Vec<Option<Gradient>>,
        moments: &mut Moments,
        learning_rate: f64,
    ) -> Result<Option<Tensor<1>>, StageError> {
        let on_host = gradients.iter().flatten().next().is_some_and(Gradient::is_on_host);
        if on_host {
            let gradients = gradients
                .into_iter()
                .map(|gradient| gradient.map(Gradient::into_host).transpose())
                .collect::<Result<Vec<Option<HostGradient>>, _>>()?;
            self.step_on_host(model, &gradients, moments, learning_rate)?;
            return Ok(None);
        }
        Ok(self.step_on_device(model, gradients, moments, learning_rate))
    }

    /// The scalars of step `t`, counted from 1, for the parameter `name`.
    fn scalars(&self, name: &str, t: u64, learning_rate: f64) -> Scalars {
        let t = t.min(i32::MAX as u64) as i32;
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
            clip: 1.0,
        }
    }

    fn step_on_host(
        &self,
        model: &mut impl Network,
        gradients: &[Option<HostGradient>],
        moments: &mut Moments,
        learning_rate: f64,
    ) -> Result<(), StageError> {
        let step = moments.steps + 1;
        let parameters = model.parameters();
        let sums = parameters.iter().zip(gradients).map(|((_, parameter), gradient)| {
            match (parameter, gradient) {
                (Parameter::Table(tensor), Some((values, Some(rows)))) => {
                    let width = tensor.dims()[1];
                    let row = |row: &usize| host::sum_of_squares(&values[row * width..][..width]);
                    rows.iter().map(row).sum()
                }
                (_, Some((values, _))) => host::sum_of_squares(values),
                (_, None) => 0.0,
            }
        });
        let sums: Vec<f64> = sums.collect();
        let norm = sums.iter().sum::<f64>().sqrt();
        if !norm.is_finite() {
            let wrong = sums.iter().position(|sum| !sum.is_finite()).unwrap_or_default();
            let what = format!("the gradient of `{}`", parameters[wrong].0);
            return Err(StageError::diverged(step, what, sums[wrong]));
        }
        let clip = self.clip_factor(norm);
        if norm * f64::from(clip) > LARGEST_NORM {
            return Err(StageError::diverged(step, "the norm of the gradients".to_owned(), norm));
        }
        moments.steps = step;
        moments.of.resize(gradients.len(), Moment::None);
        for (index, (name, parameter)) in parameters.into_iter().enumerate() {
            let Some((gradient, rows)) = &gradients[index] else { continue };
            let scalars = Scalars { clip, ..self.scalars(&name, moments.steps, learning_rate) };
            let moment = &mut moments.of[index];
            let is_finite = match (parameter, rows) {
                (Parameter::Vector(tensor), _) => host::update(tensor, gradient, moment, scalars),
                // Weight decay changes every row.
                (Parameter::Table(tensor), Some(rows)) if scalars.keep == 1.0 => {
                    host::update_rows(tensor, (gradient, rows), moment, scalars)
                }
                (
                    Parameter::Weight(tensor)
                    | Parameter::Table(tensor)
                    | Parameter::Kernel { weight: tensor, .. },
                    _,
                ) => host::update(tensor, gradient, moment, scalars),
            };
            if !is_finite {
                return Err(updated_to(model, index, step));
            }
        }
        Ok(())
    }

    fn step_on_device(
        &self,
        model: &mut impl Network,
        gradients: Vec<Option<Gradient>>,
        moments: &mut Moments,
        learning_rate: f64,
    ) -> Option<Tensor<1>> {
        moments.steps += 1;
        moments.of.resize(gradients.len(), Moment::None);
        let gradients: Vec<Option<Tensor<2>>> =
            gradients.into_iter().map(|gradient| gradient.map(Gradient::into_matrix)).collect();
        #[cfg(feature = "device")]
        {
            let step = moments.steps;
            let scalars_of = |name: &str| self.scalars(name, step, learning_rate);
            let limits = [self.max_gradient_norm, LARGEST_NORM];
            let norm = device::step(model, &gradients, moments, scalars_of, limits);
            if norm.is_some() {
                return norm;
            }
        }
        let clip = self.clip_factor_elsewhere(&gradients);
        for (index, (name, parameter)) in model.parameters().into_iter().enumerate() {
            let Some(mut gradient) = gradients[index].clone() else { continue };
            if let Some(clip) = &clip {
                gradient = gradient * clip.clone().unsqueeze();
            }
            let scalars = self.scalars(&name, moments.steps, learning_rate);
            let moment = &mut moments.of[index];
            match parameter {
                Parameter::Vector(tensor) => update_elsewhere(tensor, gradient, moment, scalars),
                Parameter::Weight(tensor)
                | Parameter::Table(tensor)
                | Parameter::Kernel { weight: tensor, .. } => {
                    update_elsewhere(tensor, gradient, moment, scalars);
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

    fn clip_factor_elsewhere(&self, gradients: &[Option<Tensor<2>>]) -> Option<Tensor<1>> {
        if self.max_gradient_norm <= 0.0 {
            return None;
        }
        let squares = gradients.iter().flatten().map(|gradient| gradient.clone().square().sum());
        let norm = squares.reduce(|left, right| left + right)?.sqrt();
        Some(((norm + 1e-6).recip() * self.max_gradient_norm).clamp_max(1.0))
    }
}

/// The error of step `step`, which gave the parameter at `index` values that are not finite.
fn updated_to(model: &mut impl Network, index: usize, step: u64) -> StageError {
    let (name, parameter) = model.parameters().swap_remove(index);
    let values = parameter.values(Path::new("")).unwrap_or_default();
    let wrong = first_not_finite(&values).map_or(f64::NAN, |at| f64::from(values[at]));
    StageError::diverged(step, format!("a value of `{name}` after the update"), wrong)
}

/// Weight decay spares biases and layer norms, like `Trainer` in transformers.
fn decays(name: &str) -> bool {
    !name.ends_with(".bias") && !name.to_lowercase().contains("norm")
}

/// The update by burn's own operations, where there are no kernels for it.
fn update_elsewhere<const D: usize>(
    parameter: &mut Tensor<D>,
    gradient: Tensor<2>,
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

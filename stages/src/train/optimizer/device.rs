//! AdamW on a GPU: all parameters in a few launches, in place.

use std::collections::HashMap;

use burn::backend::Cube;
use burn::tensor::Tensor;
use burn_cubecl::tensor::CubeTensor;

use super::moments::{Moment, Moments};
use super::scalars::Scalars;
use crate::model::device::adamw::{self, Constants, Updated};
use crate::model::device::place::Place;
use crate::model::device::{self, Value};
use crate::model::parameters::{Network, Parameter, leaf};
use crate::train::gradient::Gradient;

/// One step. `scalars_of` returns the scalars of the parameter with a name; gradients whose norm
/// after clipping to `largest` exceeds `refused` change nothing. Returns what [`adamw::step`]
/// returns, `[4]`, on the device; `None` if the gradients are not on a GPU.
pub(super) fn step(
    model: &mut impl Network,
    gradients: &[Option<Tensor<2>>],
    moments: &mut Moments,
    scalars_of: impl Fn(&str) -> Scalars,
    [largest, refused]: [f64; 2],
) -> Option<Tensor<1>> {
    let any = gradients.iter().flatten().next()?;
    Value::of(any)?;
    let spares =
        (Tensor::<1>::empty([1], &any.device()), Tensor::<2>::empty([1, 1], &any.device()));
    let copies = model.copies();
    let starts: HashMap<Place, usize> =
        copies.iter().flat_map(|copies| copies.starts.iter().cloned()).collect();
    let parameters = model.parameters().into_iter().zip(gradients).enumerate();
    let mut all = Vec::with_capacity(gradients.len());
    let mut targets = Vec::with_capacity(gradients.len());
    let mut common = None;
    for (index, ((name, parameter), gradient)) in parameters {
        let Some(gradient) = gradient else { continue };
        let scalars = scalars_of(&name);
        common = Some(scalars);
        let (target, value) = match parameter {
            Parameter::Vector(tensor) => {
                let taken = std::mem::replace(tensor, spares.0.clone());
                (Target::Vector(tensor), plain(taken)?)
            }
            Parameter::Weight(tensor)
            | Parameter::Table(tensor)
            | Parameter::Kernel { weight: tensor, .. } => {
                let taken = std::mem::replace(tensor, spares.1.clone());
                (Target::Matrix(tensor), plain(taken)?)
            }
        };
        let gradient = adamw::in_order_of(&value, plain(gradient.clone())?);
        let (first, second) = match std::mem::replace(&mut moments.of[index], Moment::None) {
            Moment::Device(both) => (plain(both.0)?, plain(both.1)?),
            _ => (adamw::zeros_like(&value), adamw::zeros_like(&value)),
        };
        let [value, first, second] = [value, first, second].map(adamw::owned);
        // A copy that something else changes as well is made anew by the next pass.
        let copy = starts.get(&Place::of(&value)).copied();
        let (keep, rate) = (scalars.keep, scalars.rate);
        all.push(Updated { value, gradient, first, second, copy, keep, rate });
        targets.push((index, target));
    }
    let Scalars { beta1, beta2, epsilon, second_scale, .. } = common?;
    let (largest, refused) = (largest as f32, refused as f32);
    let constants = Constants { beta1, beta2, epsilon, second_scale, largest, refused };
    let norm = adamw::step(&all, copies.as_ref().map(|copies| &copies.packed), constants)?;
    for ((index, target), updated) in targets.into_iter().zip(all) {
        match target {
            Target::Vector(tensor) => *tensor = trained(updated.value),
            Target::Matrix(tensor) => *tensor = trained(updated.value),
        }
        let both = (moment(updated.first), moment(updated.second));
        moments.of[index] = Moment::Device(Box::new(both));
    }
    Some(Tensor::from_primitive::<Cube>(norm))
}

/// Makes the moments of the parameters with gradients that have none yet, and asks whether the device had
/// memory for them and for the gradients.
///
/// # Errors
/// It had not: why. The moments are as before.
pub fn make_room(
    model: &mut impl Network,
    gradients: &[Option<Gradient>],
    moments: &mut Moments,
) -> Result<(), String> {
    let mut made = Vec::new();
    let mut tensors = Vec::new();
    moments.of.resize(gradients.len(), Moment::None);
    let parameters = model.parameters().into_iter().zip(gradients).enumerate();
    for (index, ((_, parameter), gradient)) in parameters {
        let Some(gradient) = gradient.clone() else { continue };
        tensors.extend(plain(gradient.into_matrix()));
        let value = parameter.value().map(Value::into_plain);
        if let (Some(value), Moment::None) = (value, &moments.of[index]) {
            let both = [adamw::zeros_like(&value), adamw::zeros_like(&value)];
            tensors.extend(both.iter().cloned());
            let [first, second] = both.map(moment);
            made.push((index, Moment::Device(Box::new((first, second)))));
        }
    }
    device::check(&tensors)?;
    made.into_iter().for_each(|(index, moment)| moments.of[index] = moment);
    Ok(())
}

fn moment(tensor: CubeTensor) -> Tensor<2> {
    Tensor::from_primitive::<Cube>(adamw::as_matrix(tensor))
}

/// Where an updated parameter goes.
enum Target<'a> {
    Vector(&'a mut Tensor<1>),
    Matrix(&'a mut Tensor<2>),
}

fn trained<const D: usize>(value: CubeTensor) -> Tensor<D> {
    leaf(Tensor::from_inner(Tensor::from_primitive::<Cube>(value)))
}

/// The tensor without autodiff and without another owner than those that it had before.
fn plain<const D: usize>(tensor: Tensor<D>) -> Option<CubeTensor> {
    let tensor = if tensor.is_autodiff() { tensor.inner() } else { tensor };
    tensor.try_into_primitive::<Cube>().ok()
}

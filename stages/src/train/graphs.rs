//! Training steps that a GPU has recorded: the loss and the gradients of a batch, by the shape of the
//! batch. Hundreds of launches then become one. AdamW is launched as always, by a few kernels, with the
//! numbers of its step.

use burn::tensor::Tensor;

use super::gradient::Gradient;
use super::objective::{Objective, Part};
use super::step::{Trainer, taken};
use crate::model::device::Value;
use crate::model::device::graph::{self, Recording};
use crate::model::device::inputs::{Inputs, Layout};
use crate::model::device::place::Place;
use crate::model::device::products::{self, Launched};
use crate::model::parameters::Network;

/// A recording keeps its memory for itself, and steps of other shapes need some as well.
const SHARE: f64 = 0.5;

/// How often the recording of a shape is tried.
const TRIES: usize = 3;

/// What is known of the shapes so far.
#[derive(Clone, Debug, Default)]
pub struct Graphs {
    shapes: Vec<(Layout, Shape)>,
    is_off: bool,
}

#[derive(Clone, Debug)]
enum Shape {
    /// Computed once. The first step of a shape may run out of memory, and many shapes occur once.
    Seen,
    Recorded(Box<Step>),
    /// Why the device did not record it, and how often. It may have had too little memory at the time.
    Refused(String, usize),
}

/// A recorded step.
#[derive(Clone, Debug)]
struct Step {
    recording: Recording,
    inputs: Inputs,
    products: Vec<Launched>,
    loss: Tensor<1>,
    gradients: Vec<Option<Gradient>>,
    /// Of the parameters, and copies of them, that it reads.
    places: Vec<Place>,
}

/// What [`Graphs::gradients`] found.
pub struct Computed {
    pub loss: Tensor<1>,
    pub gradients: Vec<Option<Gradient>>,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Launched,
    /// A recording was tried just now, which takes more memory than before.
    Tried,
    Repeated,
}

impl Graphs {
    /// The loss of a batch and its gradients, as [`Trainer::gradients`] has them, sent in one copy.
    /// `None` if the batch is in several parts, or the host sends more for this model, or it is not on
    /// a GPU. Records only if `may_record`.
    pub fn gradients<O: Objective>(
        &mut self,
        trainer: &mut Trainer<O>,
        parts: &[O::Part],
        may_record: bool,
    ) -> Option<Computed> {
        let [part] = parts else { return None };
        let noises = trainer.noises(part.first_row());
        let Trainer { model, loss, .. } = trainer;
        let halves = loss.halves()?;
        let (weight, examples) = (loss.total_weight(parts), part.examples());
        let numbers = halves.numbers(model, part, weight, examples, &noises)?;
        let layout = numbers.layout();
        let nth = self.shapes.iter().position(|(of, _)| *of == layout);
        if let Some((_, Shape::Recorded(step))) = nth.map(|nth| &self.shapes[nth])
            && step.places == places(model)
            && !(may_record && step.finds_faster_products())
        {
            step.inputs.renew(&numbers);
            // SAFETY: `step` owns what is not a parameter, and those have their places.
            unsafe { step.recording.repeat() };
            return Some(step.computed(Kind::Repeated));
        }
        let inputs = halves.send(model, &numbers)?;
        let mut compute = || {
            let loss = halves.of_inputs(model, part, &inputs, &noises);
            let gradients = taken(model, &mut loss.backward(), None);
            (loss.inner(), gradients)
        };
        let tried = match nth.map(|nth| &self.shapes[nth].1) {
            Some(Shape::Refused(_, times)) => *times,
            _ => 0,
        };
        let records = may_record && nth.is_some() && !self.is_off && tried < TRIES;
        if !records || graph::holds_more_than(inputs.client(), SHARE) {
            if nth.is_none() {
                self.shapes.push((layout, Shape::Seen));
            }
            let (loss, gradients) = compute();
            return Some(Computed { loss, gradients, kind: Kind::Launched });
        }
        // One that is outdated gives its memory back first.
        self.shapes.retain(|(of, _)| *of != layout);
        let recorded = products::noting(|| graph::record(inputs.client(), &mut compute));
        let (recording, (loss, gradients), products) = match recorded {
            (Ok((recording, found)), products) => (recording, found, products),
            (Err(why), _) => {
                let times = if why == graph::SENT { TRIES } else { tried + 1 };
                self.shapes.push((layout, Shape::Refused(why, times)));
                let (loss, gradients) = compute();
                return Some(Computed { loss, gradients, kind: Kind::Tried });
            }
        };
        // SAFETY: as above.
        unsafe { recording.repeat() };
        let places = places(model);
        let step = Step { recording, inputs, products, loss, gradients, places };
        let computed = step.computed(Kind::Tried);
        self.shapes.push((layout, Shape::Recorded(Box::new(step))));
        Some(computed)
    }

    /// Gives the memory of all recordings back, and records no more. Returns whether there were any.
    pub fn give_up(&mut self) -> bool {
        let had = self.recorded() > 0;
        *self = Graphs { shapes: Vec::new(), is_off: true };
        had
    }

    /// Why shapes were not recorded.
    pub fn refusals(&self) -> Vec<&str> {
        let refused = self.shapes.iter().filter_map(|(_, shape)| match shape {
            Shape::Refused(why, _) => Some(why.as_str()),
            _ => None,
        });
        refused.collect()
    }

    /// The number of recorded steps.
    pub fn recorded(&self) -> usize {
        self.shapes.iter().filter(|(_, shape)| matches!(shape, Shape::Recorded(_))).count()
    }
}

impl Step {
    /// Times other kernels for its products, as far as there is time for it. Whether it knows faster ones
    /// now and there is memory to record it anew.
    fn finds_faster_products(&self) -> bool {
        let has_room = || !graph::holds_more_than(self.inputs.client(), SHARE);
        products::choose(&self.inputs, &self.products) && has_room()
    }

    fn computed(&self, kind: Kind) -> Computed {
        // The next repetition overwrites the loss, which is read later.
        let loss = graph::copied(&self.loss).unwrap_or_else(|| self.loss.clone());
        Computed { loss, gradients: self.gradients.clone(), kind }
    }
}

/// Where the parameters and the copies of them are.
fn places(model: &mut impl Network) -> Vec<Place> {
    let copies = model.copies().map(|copies| copies.packed);
    let parameters = model.parameters();
    let values = parameters.iter().filter_map(|(_, parameter)| parameter.value());
    copies.into_iter().chain(values.map(Value::into_plain)).map(|it| Place::of(&it)).collect()
}

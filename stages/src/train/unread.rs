//! The losses and norms of steps that a GPU has not told yet. Reading one waits for everything the
//! device still has to do, and then it idles until the next step arrives, so those of several steps
//! are read in one copy.

use burn::tensor::Tensor;

use crate::model::memory::{is_out_of_memory, within_memory};
use crate::stage::error::StageError;
use crate::stage::panics::causes;

/// Steps between two reads on a GPU.
const EVERY: usize = 16;

/// The steps since the last read, in order.
#[derive(Clone, Debug)]
pub struct Unread {
    /// Steps between two reads.
    every: usize,
    steps: Vec<Step>,
    latest: f64,
}

#[derive(Clone, Debug)]
struct Step {
    /// Counted from 1.
    number: u64,
    /// `[1]`
    loss: Tensor<1>,
    /// What [`AdamW::step`](super::optimizer::AdamW::step) returned.
    norm: Option<Tensor<1>>,
    /// The factor of the loss in the sum that metrics report.
    weight: f64,
}

impl Unread {
    /// For a model on the CPU, where every loss is read at once, or for one on another device.
    pub fn new(is_on_host: bool) -> Unread {
        Unread { every: if is_on_host { 1 } else { EVERY }, steps: Vec::new(), latest: f64::NAN }
    }

    /// Whether every loss is read before the update that follows it.
    pub fn reads_at_once(&self) -> bool {
        self.every == 1
    }

    /// The latest loss that is known.
    pub fn latest_loss(&self) -> f64 {
        self.latest
    }

    /// Notes a loss that is known already.
    pub(super) fn note(&mut self, loss: f64) {
        self.latest = loss;
    }

    /// Adds a step, and reads all if there are many. Returns the losses read, as
    /// [`read`](Self::read) does.
    ///
    /// # Shapes
    ///
    /// `loss` is `[1]`, `norm` is `[4]`.
    pub(super) fn add(
        &mut self,
        number: u64,
        loss: Tensor<1>,
        norm: Option<Tensor<1>>,
        weight: f64,
    ) -> Result<Vec<f64>, StageError> {
        self.steps.push(Step { number, loss, norm, weight });
        if self.steps.len() < self.every { Ok(Vec::new()) } else { self.read() }
    }

    /// Waits for the device, and returns the losses of all steps since the last read, each times its
    /// weight, in order.
    ///
    /// # Errors
    /// A loss, the norm of the gradients or an updated value was not finite, and the parameters must
    /// not be used; the device fails.
    pub fn read(&mut self) -> Result<Vec<f64>, StageError> {
        let steps = std::mem::take(&mut self.steps);
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let tensors: Vec<Tensor<1>> = steps
            .iter()
            .flat_map(|step| [Some(step.loss.clone()), step.norm.clone()])
            .flatten()
            .collect();
        let values = tried(|| Tensor::cat(tensors, 0).try_into_vec_as::<f32>())?;
        let mut values = values.into_iter();
        let mut next = || f64::from(values.next().unwrap_or(f32::NAN));
        let mut losses = Vec::with_capacity(steps.len());
        for step in steps {
            let loss = next();
            if !loss.is_finite() {
                return Err(StageError::diverged(step.number, "the loss".to_owned(), loss));
            }
            if step.norm.is_some() {
                let [norm, _, is_refused, updated] = [next(), next(), next(), next()];
                if is_refused != 0.0 {
                    let what = "the norm of the gradients".to_owned();
                    return Err(StageError::diverged(step.number, what, norm));
                }
                if updated != 0.0 {
                    let what = "a value of a parameter after the update".to_owned();
                    return Err(StageError::diverged(step.number, what, updated));
                }
            }
            self.latest = loss;
            losses.push(loss * step.weight);
        }
        Ok(losses)
    }
}

/// Reads from the device.
fn tried<T, E: ToString>(read: impl FnOnce() -> Result<T, E>) -> Result<T, StageError> {
    within_memory(read).and_then(|read| read.map_err(|error| error.to_string())).map_err(failure)
}

/// The error for a device that cannot compute the loss.
pub(super) fn failure(problem: String) -> StageError {
    let what = if is_out_of_memory(&problem) {
        "enough memory on the device"
    } else {
        "the loss on the device"
    };
    StageError::Unavailable { what: what.to_owned(), problem: causes(&problem) }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn tensor<const N: usize>(values: [f32; N]) -> Tensor<1> {
        Tensor::from_data(values, &Device::flex())
    }

    /// The losses of a read after steps with these losses and norms, or the message of its failure.
    fn read_after(steps: &[(f32, [f32; 4])]) -> Result<Vec<f64>, String> {
        let mut unread = Unread::new(false);
        for (number, (loss, norm)) in (1..).zip(steps) {
            let known = unread.add(number, tensor([*loss]), Some(tensor(*norm)), number as f64);
            assert_eq!(known.unwrap(), Vec::<f64>::new());
        }
        unread.read().map_err(|error| error.to_string())
    }

    const FINE: [f32; 4] = [2.0, 0.5, 0.0, 0.0];

    #[test]
    fn losses_are_read_in_order_and_times_their_weights() {
        assert_eq!(
            read_after(&[(0.5, FINE), (0.25, FINE), (0.125, FINE)]).unwrap(),
            [0.5, 0.5, 0.375]
        );
        assert_eq!(read_after(&[]).unwrap(), Vec::<f64>::new());
    }

    #[test]
    fn a_norm_may_be_missing() {
        let mut unread = Unread::new(false);
        unread.add(1, tensor([0.5]), None, 1.0).unwrap();
        unread.add(2, tensor([0.25]), Some(tensor(FINE)), 1.0).unwrap();
        assert_eq!(unread.read().unwrap(), [0.5, 0.25]);
        assert_eq!(unread.latest_loss(), 0.25);
    }

    #[test]
    fn sixteen_steps_are_read_at_once_and_only_once() {
        let mut unread = Unread::new(false);
        let mut counts = Vec::new();
        for number in 1..=33 {
            counts.push(unread.add(number, tensor([1.0]), None, 1.0).unwrap().len());
        }
        let expected: Vec<usize> =
            (1..=33).map(|step| if step % 16 == 0 { 16 } else { 0 }).collect();
        assert_eq!(counts, expected);
        assert_eq!(unread.read().unwrap().len(), 1);
        assert_eq!(unread.read().unwrap().len(), 0);
    }

    #[test]
    fn the_first_step_that_diverged_is_named() {
        let infinite = [f32::INFINITY, 0.0, 1.0, 0.0];
        let message = read_after(&[(0.5, FINE), (f32::NAN, infinite), (f32::NAN, FINE)]);
        let message = message.unwrap_err();
        assert!(message.contains("step 2") && message.contains("the loss"), "{message}");
        let message = read_after(&[(0.5, FINE), (0.5, FINE), (0.5, infinite), (f32::NAN, FINE)]);
        let message = message.unwrap_err();
        assert!(message.contains("step 3: the norm of the gradients"), "{message}");
        let message = read_after(&[(0.5, FINE), (0.5, [2.0, 0.5, 0.0, f32::NAN])]).unwrap_err();
        assert!(message.contains("step 2: a value of a parameter after the update"), "{message}");
    }
}

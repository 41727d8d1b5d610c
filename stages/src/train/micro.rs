//! Splits batches into micro-batches that fit in memory.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use burn::tensor::Tensor;

use super::checkpoint::Position;
use super::gradient::Gradient;
#[cfg(feature = "device")]
use super::graphs::{Computed, Graphs, Kind};
use super::memory::{ActivationBudget, free_bytes};
use super::objective::Objective;
use super::order::{ModelShape, activation_bytes, automatic_micro_batch};
use super::step::Trainer;
use super::unread::{Unread, failure};
use crate::model::memory::is_out_of_memory;
use crate::model::parameters::Network;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;
use crate::stage::panics::message_of;

/// Examples by row number, as parts of a batch.
pub trait Rows<Part> {
    /// The number of tokens of a row.
    fn length(&self, row: usize) -> usize;

    /// Rows padded to one width. `first_row` is the index of the first one in the whole batch.
    fn part(&self, rows: &[usize], first_row: usize) -> Part;
}

/// How batches are split, and what is known of the steps so far.
#[derive(Clone, Debug)]
pub struct MicroBatches {
    /// Rows per micro-batch; `None` means as many as the budget allows.
    pub size: Option<usize>,
    pub shape: ModelShape,
    /// Forward passes per example.
    pub passes: usize,
    pub budget: ActivationBudget,
    /// The number of parts that are computed in parallel and together form a micro-batch: 2 on the
    /// CPU.
    pub lanes: usize,
    /// The losses that are still on the device.
    pub unread: Unread,
    /// The steps that a GPU has recorded.
    #[cfg(feature = "device")]
    pub graphs: Graphs,
    /// The largest [`Cut::bytes`] that have fitted in memory, by [`Cut::kind`].
    fitted: [u64; 2],
}

/// A batch in parts.
struct Cut<Part> {
    parts: Vec<Part>,
    /// The number of parts that are computed in parallel.
    lanes: usize,
    /// The estimated activations of the largest part.
    bytes: u64,
}

impl<Part> Cut<Part> {
    /// 1 if the gradients of parts are added, which takes memory for two, else 0.
    fn kind(&self) -> usize {
        usize::from(self.parts.len() > 1)
    }
}

impl MicroBatches {
    /// Splits batches for a model of this `shape`.
    pub fn new(
        size: Option<usize>,
        shape: ModelShape,
        passes: usize,
        budget: ActivationBudget,
        is_on_host: bool,
    ) -> MicroBatches {
        let (lanes, unread) = (if is_on_host { 2 } else { 1 }, Unread::new(is_on_host));
        MicroBatches {
            size,
            shape,
            passes,
            budget,
            lanes,
            unread,
            #[cfg(feature = "device")]
            graphs: Graphs::default(),
            fitted: [0; 2],
        }
    }

    /// Takes the size from the pipeline (`fixed` rows), else from the checkpoint at `at`, else from
    /// the free memory.
    pub fn choose<O: Objective>(
        context: &Context,
        fixed: Option<usize>,
        shape: ModelShape,
        trainer: &mut Trainer<O>,
        at: &Position,
    ) -> MicroBatches {
        let failures = memory_failures(context);
        let budget = match at.activation_bytes {
            0 => {
                // Gradients and two moments. A resumed training has already allocated the moments.
                let fixed = 3 * 4 * trainer.model.parameter_count() as u64;
                let free = match trainer.model.is_on_host() {
                    true => free_bytes(),
                    false => trainer.model.free_device_bytes(),
                };
                ActivationBudget::new(free, fixed, failures)
            }
            bytes => {
                let mut budget = ActivationBudget { bytes };
                for _ in at.memory_failures..failures {
                    budget.halve();
                }
                budget
            }
        };
        if budget.is_reduced() && fixed.is_none() {
            let mebibytes = budget.bytes >> 20;
            let message =
                format!("memory is short: micro-batches are cut to {mebibytes} MiB of activations");
            context.emit(Event::Note { message });
        }
        let is_on_host = trainer.model.is_on_host();
        MicroBatches::new(fixed, shape, trainer.loss.passes(), budget, is_on_host)
    }

    /// Splits a batch, given as groups of rows of similar length, into parts. No part mixes two
    /// groups. Any `lanes` consecutive parts together hold no more rows than one micro-batch. The
    /// number of lanes is 1 if a micro-batch has room for a single row only.
    fn cut<Part>(&self, groups: &[Vec<usize>], examples: &impl Rows<Part>) -> Cut<Part> {
        let mut parts = Vec::new();
        let (mut first_row, mut bytes) = (0, 0);
        let mut lanes = self.lanes;
        for rows in groups {
            let width = rows.iter().map(|row| examples.length(*row)).max().unwrap_or_default();
            let size = self.size.unwrap_or_else(|| {
                let rows = rows.len().max(self.lanes);
                automatic_micro_batch(rows, width, self.shape, self.passes, self.budget.bytes)
            });
            if size <= 1 {
                lanes = 1;
            }
            for piece in rows.chunks(size.max(1)) {
                for rows in piece.chunks(piece.len().div_ceil(self.lanes)) {
                    let per_row = activation_bytes(width, self.shape, self.passes);
                    bytes = bytes.max(per_row * rows.len() as u64);
                    parts.push(examples.part(rows, first_row));
                    first_row += rows.len();
                }
            }
        }
        Cut { parts, lanes, bytes }
    }

    /// One optimiser step. If the device runs out of memory, halves the budget, calls `warn` and
    /// repeats the step.
    ///
    /// Returns the losses that this step makes known, in the order of their steps and each times its
    /// `weight`: on the CPU its own, on a GPU mostly none and sometimes those of many steps.
    ///
    /// # Errors
    /// The loss, a gradient or an updated parameter of a step since the last known loss is not
    /// finite; the device fails.
    pub fn step<O: Objective>(
        &mut self,
        trainer: &mut Trainer<O>,
        groups: &[Vec<usize>],
        examples: &impl Rows<O::Part>,
        weight: f64,
        mut warn: impl FnMut(String),
    ) -> Result<Vec<f64>, StageError> {
        let mut losses = Vec::new();
        loop {
            let cut = self.cut(groups, examples);
            let number = trainer.moments.steps + 1;
            // Nothing changes until the gradients are applied, so the step can be repeated. A step
            // that fitted before is not waited for.
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                let (loss, gradients, fits) = self.gradients(trainer, &cut);
                let reads = self.unread.reads_at_once();
                let waits = reads || !fits;
                let room = match waits && !reads {
                    true => trainer.make_room(&gradients),
                    false => Ok(()),
                };
                let read = || waits.then(|| loss.clone().try_into_scalar::<f32>()).transpose();
                let known = room.and_then(|()| read().map_err(|error| error.to_string()));
                (known, loss, gradients)
            }));
            let panic = match attempt {
                Ok((Ok(known), loss, gradients)) => {
                    if let Some(known) = known {
                        if !known.is_finite() {
                            self.unread.read()?;
                            let what = "the loss".to_owned();
                            return Err(StageError::diverged(number, what, f64::from(known)));
                        }
                        self.unread.note(f64::from(known));
                        self.note_fitting(&cut);
                    }
                    let norm = trainer.apply(gradients)?;
                    losses.extend(match known.filter(|_| self.unread.reads_at_once()) {
                        Some(known) => vec![f64::from(known) * weight],
                        None => self.unread.add(number, loss, norm, weight)?,
                    });
                    return Ok(losses);
                }
                Ok((Err(error), ..)) if !is_out_of_memory(&error) => return Err(failure(error)),
                Ok((Err(error), ..)) => Box::new(error),
                Err(panic) => panic,
            };
            if !is_out_of_memory(message_of(&*panic)) {
                resume_unwind(panic);
            }
            // Only this step can be repeated, so all earlier ones must have succeeded.
            losses.extend(self.unread.read()?);
            if self.give_up() {
                continue;
            }
            let rows: usize = groups.iter().map(Vec::len).sum();
            let divisible = cut.parts.len() < rows && self.size.is_none();
            if !divisible || !self.budget.halve() {
                return Err(failure(message_of(&*panic).to_owned()));
            }
            let mebibytes = self.budget.bytes >> 20;
            warn(format!(
                "out of memory: micro-batches are cut to {mebibytes} MiB of activations from \
                 step {} on",
                trainer.moments.steps
            ));
        }
    }

    /// The loss of a batch, its gradients, and whether they are known to fit in memory.
    fn gradients<O: Objective>(
        &mut self,
        trainer: &mut Trainer<O>,
        cut: &Cut<O::Part>,
    ) -> (Tensor<1>, Vec<Option<Gradient>>, bool) {
        let fits = self.has_fitted(cut);
        #[cfg(feature = "device")]
        if let Some(Computed { loss, gradients, kind }) =
            self.graphs.gradients(trainer, &cut.parts, fits)
        {
            if kind == Kind::Tried {
                // There is less memory for other shapes than when they fitted.
                self.fitted = [0; 2];
            }
            let fits = kind == Kind::Repeated || (kind == Kind::Launched && fits);
            return (loss, gradients, fits);
        }
        let (loss, gradients) = trainer.gradients(&cut.parts, cut.lanes);
        (loss, gradients, fits)
    }

    /// A copy of a model that is kept while training goes on, which leaves less memory for the steps.
    ///
    /// # Errors
    /// A GPU has too little memory for it.
    pub fn keep<M: Network>(&mut self, model: &M) -> Result<M, StageError> {
        self.fitted = [0; 2];
        self.between(|| {
            let mut kept = model.kept();
            kept.check_memory().map_err(failure)?;
            Ok(kept)
        })
    }

    /// The result of `work` between two steps, such as an evaluation. If a GPU runs out of memory, the
    /// recorded steps give theirs back, and `work` is tried once more.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn between<T>(
        &mut self,
        mut work: impl FnMut() -> Result<T, StageError>,
    ) -> Result<T, StageError> {
        match catch_unwind(AssertUnwindSafe(&mut work)) {
            Ok(Err(error)) if is_out_of_memory(&error.to_string()) && self.give_up() => work(),
            Ok(result) => result,
            Err(panic) if is_out_of_memory(message_of(&*panic)) && self.give_up() => work(),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Gives the memory of recorded steps back, and returns whether there were any.
    fn give_up(&mut self) -> bool {
        #[cfg(feature = "device")]
        let had = self.graphs.give_up();
        #[cfg(not(feature = "device"))]
        let had = false;
        had
    }

    /// Whether a step has succeeded that needed as much memory.
    fn has_fitted<Part>(&self, cut: &Cut<Part>) -> bool {
        cut.bytes <= self.fitted[cut.kind()]
    }

    fn note_fitting<Part>(&mut self, cut: &Cut<Part>) {
        let fitted = &mut self.fitted[cut.kind()];
        *fitted = cut.bytes.max(*fitted);
    }
}

/// How often this stage ran out of memory. The engine writes one line each time.
pub fn memory_failures(context: &Context) -> u32 {
    let file = context.manifest.state.join(crate::stage::manifest::OUT_OF_MEMORY);
    let lines = std::fs::read_to_string(file).unwrap_or_default().lines().count();
    u32::try_from(lines).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Examples;

    /// A part is the index of its first row, and its rows.
    impl Rows<(usize, Vec<usize>)> for Examples {
        fn length(&self, _: usize) -> usize {
            10
        }

        fn part(&self, rows: &[usize], first_row: usize) -> (usize, Vec<usize>) {
            (first_row, rows.to_vec())
        }
    }

    #[track_caller]
    fn expect_parts(size: Option<usize>, lanes: usize, groups: &[usize], expected: &[usize]) {
        let shape =
            ModelShape { layers: 2, hidden: 64, intermediate: 256, heads: 2, head_floats: 0 };
        let budget = ActivationBudget { bytes: 1 << 30 };
        let micro = MicroBatches::new(size, shape, 1, budget, lanes == 2);
        let mut next = 0..;
        let groups: Vec<Vec<usize>> =
            groups.iter().map(|rows| next.by_ref().take(*rows).collect()).collect();
        let parts = micro.cut(&groups, &Examples).parts;
        let sizes: Vec<usize> = parts.iter().map(|(_, rows)| rows.len()).collect();
        assert_eq!(sizes, expected);
        for (first_row, rows) in &parts {
            assert_eq!(rows[0], *first_row, "{parts:?}");
        }
    }

    #[test]
    fn a_batch_is_cut_into_halves_for_two_lanes_and_left_whole_for_one() {
        expect_parts(None, 2, &[32], &[16, 16]);
        expect_parts(None, 2, &[5], &[3, 2]);
        expect_parts(None, 1, &[32], &[32]);
        expect_parts(None, 2, &[1], &[1]);
    }

    #[test]
    fn what_is_computed_at_once_is_no_more_than_a_micro_batch() {
        expect_parts(Some(4), 2, &[10], &[2, 2, 2, 2, 1, 1]);
        expect_parts(Some(4), 1, &[10], &[4, 4, 2]);
        expect_parts(Some(1), 2, &[3], &[1, 1, 1]);
    }

    #[test]
    fn an_automatic_micro_batch_of_one_row_uses_one_lane() {
        let shape =
            ModelShape { layers: 2, hidden: 64, intermediate: 256, heads: 2, head_floats: 0 };
        let lanes = |bytes| {
            let budget = ActivationBudget { bytes };
            let micro = MicroBatches::new(None, shape, 1, budget, true);
            micro.cut(&[vec![0, 1, 2]], &Examples).lanes
        };
        assert_eq!(lanes(1), 1, "there is room for one row");
        assert_eq!(lanes(1 << 30), 2, "there is room for all rows");
    }

    #[test]
    fn only_steps_that_need_more_memory_than_any_before_are_waited_for() {
        let shape =
            ModelShape { layers: 2, hidden: 64, intermediate: 256, heads: 2, head_floats: 0 };
        let budget = ActivationBudget { bytes: 1 << 30 };
        let mut micro = MicroBatches::new(Some(8), shape, 1, budget, false);
        // Batches of these many rows, in parts of at most 8.
        let mut fitted = |rows: usize| {
            let cut = micro.cut(&[(0..rows).collect()], &Examples);
            let fitted = micro.has_fitted(&cut);
            micro.note_fitting(&cut);
            fitted
        };
        assert_eq!([3, 3, 2, 4, 3, 4].map(&mut fitted), [false, true, true, false, true, true]);
        // The gradients of several parts take more memory than those of one.
        assert_eq!([16, 9, 24, 8].map(&mut fitted), [false, true, true, false]);
    }

    #[test]
    fn no_part_has_rows_of_two_groups() {
        expect_parts(Some(8), 2, &[6, 3], &[3, 3, 2, 1]);
    }
}

//! Splits batches into micro-batches that fit in memory.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::checkpoint::Position;
use super::memory::{ActivationBudget, free_bytes};
use super::objective::Objective;
use super::order::{ModelShape, automatic_micro_batch};
use super::step::Trainer;
use crate::model::parameters::Network;
use crate::stage::Context;
use crate::stage::error::StageError;
use crate::stage::event::Event;

/// Examples by row number, as parts of a batch.
pub trait Rows<Part> {
    /// The number of tokens of a row.
    fn length(&self, row: usize) -> usize;

    /// Rows padded to one width. `first_row` is the index of the first one in the whole batch.
    fn part(&self, rows: &[usize], first_row: usize) -> Part;
}

/// How batches are split.
#[derive(Clone, Copy, Debug)]
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
}

impl MicroBatches {
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
                ActivationBudget::new(free_bytes(), fixed, failures)
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
        let lanes = if trainer.model.is_on_host() { 2 } else { 1 };
        MicroBatches { size: fixed, shape, passes: trainer.loss.passes(), budget, lanes }
    }

    /// Splits a batch, given as groups of rows of similar length, into parts. No part mixes two
    /// groups. Any `lanes` consecutive parts together hold no more rows than one micro-batch.
    /// Returns the parts and the number of lanes, which is 1 if a micro-batch has room for a single
    /// row only.
    fn cut<Part>(&self, groups: &[Vec<usize>], examples: &impl Rows<Part>) -> (Vec<Part>, usize) {
        let mut parts = Vec::new();
        let mut first_row = 0;
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
                    parts.push(examples.part(rows, first_row));
                    first_row += rows.len();
                }
            }
        }
        (parts, lanes)
    }

    /// One optimiser step. If the device runs out of memory, halves the budget, calls `warn` and
    /// repeats the step. Returns the loss of the batch.
    ///
    /// # Errors
    /// The loss, a gradient or an updated parameter is not finite; the device fails.
    pub fn step<O: Objective>(
        &mut self,
        trainer: &mut Trainer<O>,
        groups: &[Vec<usize>],
        examples: &impl Rows<O::Part>,
        mut warn: impl FnMut(String),
    ) -> Result<f64, StageError> {
        loop {
            let (parts, lanes) = self.cut(groups, examples);
            // Nothing changes until the loss is known, so the step can be repeated.
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                let (loss, gradients) = trainer.gradients(&parts, lanes);
                (loss.try_into_scalar::<f32>(), gradients)
            }));
            let panic = match attempt {
                Ok((Ok(loss), gradients)) => {
                    if !loss.is_finite() {
                        let (step, what) = (trainer.moments.steps + 1, "the loss".to_owned());
                        return Err(StageError::diverged(step, what, f64::from(loss)));
                    }
                    trainer.apply(gradients)?;
                    return Ok(f64::from(loss));
                }
                Ok((Err(error), _)) if !is_out_of_memory(&error.to_string()) => {
                    let what = "the loss on the device".to_owned();
                    return Err(StageError::Unavailable { what, problem: error.to_string() });
                }
                Ok((Err(error), _)) => Box::new(error.to_string()),
                Err(panic) => panic,
            };
            if !is_out_of_memory(message_of(&*panic)) {
                resume_unwind(panic);
            }
            let rows: usize = groups.iter().map(Vec::len).sum();
            let divisible = parts.len() < rows && self.size.is_none();
            if !divisible || !self.budget.halve() {
                let what = "enough memory on the device".to_owned();
                let problem = message_of(&*panic).to_owned();
                return Err(StageError::Unavailable { what, problem });
            }
            let mebibytes = self.budget.bytes >> 20;
            warn(format!(
                "out of memory: micro-batches are cut to {mebibytes} MiB of activations from \
                 step {} on",
                trainer.moments.steps
            ));
        }
    }
}

/// How often this stage ran out of memory. The engine writes one line each time.
pub fn memory_failures(context: &Context) -> u32 {
    let file = context.manifest.state.join(crate::stage::manifest::OUT_OF_MEMORY);
    let lines = std::fs::read_to_string(file).unwrap_or_default().lines().count();
    u32::try_from(lines).unwrap_or(u32::MAX)
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

/// Whether the message is that of CUDA or cubecl running out of memory.
fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    ["out of memory", "outofmemory", "out_of_memory"].iter().any(|words| message.contains(words))
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
        let micro = MicroBatches { size, shape, passes: 1, budget, lanes };
        let mut next = 0..;
        let groups: Vec<Vec<usize>> =
            groups.iter().map(|rows| next.by_ref().take(*rows).collect()).collect();
        let (parts, _) = micro.cut(&groups, &Examples);
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
            let micro = MicroBatches { size: None, shape, passes: 1, budget, lanes: 2 };
            micro.cut(&[vec![0, 1, 2]], &Examples).1
        };
        assert_eq!(lanes(1), 1, "there is room for one row");
        assert_eq!(lanes(1 << 30), 2, "there is room for all rows");
    }

    #[test]
    fn no_part_has_rows_of_two_groups() {
        expect_parts(Some(8), 2, &[6, 3], &[3, 3, 2, 1]);
    }
}

//! A batch in the pieces that memory has room for.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::loss::MicroBatch;
use super::memory::ActivationBudget;
use super::order::{ModelShape, automatic_micro_batch};
use super::step::Trainer;
use crate::error::StageError;
use crate::model::batch::Batch;

/// Examples by row number.
pub trait Rows {
    /// How many tokens a row has.
    fn length(&self, row: usize) -> usize;

    /// Rows padded to one width.
    fn batch(&self, rows: &[usize]) -> Batch;

    fn class(&self, row: usize) -> usize;
}

/// How batches are cut.
#[derive(Clone, Copy, Debug)]
pub struct MicroBatches {
    /// Rows of a piece; `None`: as many as the budget allows.
    pub size: Option<usize>,
    pub shape: ModelShape,
    /// Passes through the network that each example takes.
    pub passes: usize,
    pub budget: ActivationBudget,
}

impl MicroBatches {
    /// The pieces of a batch.
    pub fn cut(&self, rows: &[usize], examples: &impl Rows) -> Vec<MicroBatch> {
        let width = rows.iter().map(|row| examples.length(*row)).max().unwrap_or_default();
        let size = self.size.unwrap_or_else(|| {
            automatic_micro_batch(rows.len(), width, self.shape, self.passes, self.budget.bytes)
        });
        let pieces = rows.chunks(size.max(1)).enumerate();
        let piece = |(index, rows): (usize, &[usize])| MicroBatch {
            batch: examples.batch(rows),
            classes: rows.iter().map(|row| examples.class(*row) as i32).collect(),
            first_row: index * size,
        };
        pieces.map(piece).collect()
    }

    /// One optimiser step. When the device runs out of memory the budget is halved and the step
    /// begun again; `warn` is told. Returns the batch's loss.
    pub fn step(
        &mut self,
        trainer: &mut Trainer,
        rows: &[usize],
        examples: &impl Rows,
        mut warn: impl FnMut(String),
    ) -> Result<f64, StageError> {
        loop {
            let parts = self.cut(rows, examples);
            // Nothing is changed until the loss is here, so the step can be begun again.
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                let (loss, gradients) = trainer.gradients(&parts);
                (loss.try_into_scalar::<f32>(), gradients)
            }));
            let panic = match attempt {
                Ok((Ok(loss), gradients)) => {
                    trainer.apply(gradients);
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
            let divisible = parts.len() < rows.len() && self.size.is_none();
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

fn message_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default()
}

/// As CUDA and cubecl say it.
fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    ["out of memory", "outofmemory", "out_of_memory"].iter().any(|words| message.contains(words))
}

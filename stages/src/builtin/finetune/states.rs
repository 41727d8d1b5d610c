//! What a frozen encoder gives the head, computed once.

use std::path::Path;

use crate::data::token_file::TokenFile;
use crate::model::batch::Batch;
use crate::model::classifier::Classifier;
use crate::model::config::WindowPooling;
use crate::model::parameters::read;
use crate::stage::error::StageError;
use crate::train::class_outputs::{ClassOutputs, WindowOutputs};
use crate::train::evaluation::{Rounding, batch_outputs};
use crate::train::order::evaluation_batches;

/// Rows of a batch that only the head computes.
const ROWS: usize = 1024;

/// `[windows, hidden]`, row-major.
#[derive(Default)]
pub struct States {
    values: Vec<f32>,
    hidden: usize,
}

impl States {
    /// # Errors
    /// The device fails.
    pub fn new(
        model: &Classifier,
        tokens: &TokenFile,
        batch_size: usize,
        path: &Path,
    ) -> Result<States, StageError> {
        let length = |window: usize| tokens.length(window);
        let mut found = States::default();
        for rows in evaluation_batches(tokens.windows(), length, batch_size) {
            let sequences = rows.iter().map(|row| (tokens.ids(*row), tokens.types(*row)));
            let states = model.pooled(&Batch::new(sequences, tokens.pad_id()));
            found.hidden = states.dims()[1];
            found.values.resize(tokens.windows() * found.hidden, 0.0);
            let states = read(&states, path)?;
            for (row, state) in rows.iter().zip(states.chunks(found.hidden.max(1))) {
                found.values[row * found.hidden..][..found.hidden].copy_from_slice(state);
            }
        }
        Ok(found)
    }

    /// Those of some rows, one after the other.
    pub fn of(&self, rows: &[usize]) -> Vec<f32> {
        let row = |row: &usize| &self.values[row * self.hidden..][..self.hidden];
        rows.iter().flat_map(row).copied().collect()
    }

    /// What the head makes of every row of `tokens`, whose states these are.
    ///
    /// # Errors
    /// A logit is not finite; the error names the row. The device fails.
    pub fn outputs(
        &self,
        model: &Classifier,
        tokens: &TokenFile,
        classes: usize,
        pooling: WindowPooling,
    ) -> Result<ClassOutputs, StageError> {
        let mut all = WindowOutputs::new(tokens.rows(), classes, pooling);
        let mut first = 0;
        for states in self.values.chunks((ROWS * self.hidden).max(1)) {
            let rows = states.len() / self.hidden.max(1);
            let batch = Batch { rows, pooled: Some(states.to_vec()), ..Batch::default() };
            let row_of = |window: usize| tokens.row_of(first + window);
            let name = |window: usize| format!("example `{}`", tokens.id(row_of(window)));
            let found = batch_outputs(model, &batch, Rounding::OfBatch, name)?;
            all.add((0..rows).map(row_of), &found);
            first += rows;
        }
        Ok(all.finish())
    }
}

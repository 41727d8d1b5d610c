//! The rows of an input, rounded and in panels.

use rayon::prelude::*;

use super::panel::{DEPTH, LeftEntry, ROWS};
use super::rounding::{Scale, round};

/// Rows as they are multiplied.
pub(super) struct Rows {
    /// `[panels, entries]`, padded with zeros.
    pub(super) panels: Vec<LeftEntry>,
    pub(super) scales: Vec<Scale>,
}

impl Rows {
    /// Rounds rows of `inputs` values each.
    pub(super) fn new(input: &[f32], inputs: usize) -> Rows {
        let entries = inputs.div_ceil(DEPTH);
        let rows = input.len() / inputs.max(1);
        let mut panels = vec![[[0; DEPTH]; ROWS]; rows.div_ceil(ROWS) * entries];
        let mut scales = vec![Scale::default(); rows];
        let each = panels.par_chunks_mut(entries.max(1)).zip(scales.par_chunks_mut(ROWS));
        let each = each.zip(input.par_chunks((ROWS * inputs).max(1)));
        each.for_each(|((panel, scales), input)| {
            let mut rounded = vec![0; entries * DEPTH];
            for (row, (values, scale)) in input.chunks_exact(inputs).zip(scales).enumerate() {
                *scale = Scale::of_row(values);
                round(values, *scale, &mut rounded);
                for (entry, bytes) in panel.iter_mut().zip(rounded.as_chunks().0) {
                    entry[row] = *bytes;
                }
            }
        });
        Rows { panels, scales }
    }
}

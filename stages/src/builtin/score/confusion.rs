//! A confusion matrix. The figures that follow from it are in
//! [`classification`](crate::data::classification).

use std::collections::BTreeMap;

use crate::data::classification::Margins;

/// How often each pair of a true and a predicted label occurs. Labels are the numbers
/// `0..labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfusionCounts {
    pub labels: usize,
    /// By (gold, predicted). Pairs that do not occur are absent: with many labels the matrix is
    /// sparse.
    pub cells: BTreeMap<(u16, u16), u64>,
}

impl ConfusionCounts {
    pub fn add(&mut self, gold: u16, predicted: u16) {
        *self.cells.entry((gold, predicted)).or_default() += 1;
    }

    pub fn margins(&self) -> Margins {
        Margins::new(self.labels, self.cells.iter().map(|(&cell, &count)| (cell, count)))
    }

    /// The whole matrix: a row for each true label, a column for each predicted label.
    pub fn matrix(&self) -> Vec<Vec<u64>> {
        let mut matrix = vec![vec![0; self.labels]; self.labels];
        for (&(gold, predicted), &count) in &self.cells {
            matrix[usize::from(gold)][usize::from(predicted)] = count;
        }
        matrix
    }
}

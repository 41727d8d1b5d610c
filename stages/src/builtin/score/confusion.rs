//! A confusion matrix and the figures that follow from it, as scikit-learn defines them with
//! `zero_division=0`.

use std::collections::BTreeMap;

use crate::data::classification::{ClassFigures, Fraction};

/// How often each pair of a true and a predicted label occurs. Labels are the numbers
/// `0..labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfusionCounts {
    pub labels: usize,
    /// By (gold, predicted). Pairs that do not occur are absent: with many labels the matrix is
    /// sparse.
    pub cells: BTreeMap<(u16, u16), u64>,
}

/// The row and column sums of a confusion matrix, and its diagonal, by label.
#[derive(Clone, Debug)]
pub struct Margins {
    pub correct: Vec<u64>,
    pub gold: Vec<u64>,
    pub predicted: Vec<u64>,
    pub rows: u64,
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

impl Margins {
    pub fn new(labels: usize, cells: impl Iterator<Item = ((u16, u16), u64)>) -> Margins {
        let mut margins = Margins {
            correct: vec![0; labels],
            gold: vec![0; labels],
            predicted: vec![0; labels],
            rows: 0,
        };
        for ((gold, predicted), count) in cells {
            margins.gold[usize::from(gold)] += count;
            margins.predicted[usize::from(predicted)] += count;
            margins.rows += count;
            if gold == predicted {
                margins.correct[usize::from(gold)] += count;
            }
        }
        margins
    }

    pub fn accuracy(&self) -> f64 {
        Fraction { part: self.correct.iter().sum(), whole: self.rows }.value()
    }

    /// The figures of one label.
    pub fn figures(&self, label: usize) -> ClassFigures {
        ClassFigures::new(self.correct[label], self.gold[label], self.predicted[label])
    }

    /// The mean of the figures of the labels that occur, as true or as predicted labels.
    pub fn macro_average(&self) -> ClassFigures {
        self.average(|label| f64::from(u8::from(self.occurs(label))))
    }

    /// The mean of the figures of all labels, weighted by the rows that have the label.
    pub fn weighted_average(&self) -> ClassFigures {
        self.average(|label| self.gold[label] as f64)
    }

    fn average(&self, weight: impl Fn(usize) -> f64) -> ClassFigures {
        let (mut sum, mut weights) = (ClassFigures::default(), 0.0);
        for label in 0..self.gold.len() {
            let (figures, weight) = (self.figures(label), weight(label));
            sum.precision += weight * figures.precision;
            sum.recall += weight * figures.recall;
            sum.f1 += weight * figures.f1;
            weights += weight;
        }
        if weights == 0.0 {
            return ClassFigures::default();
        }
        ClassFigures {
            precision: sum.precision / weights,
            recall: sum.recall / weights,
            f1: sum.f1 / weights,
        }
    }

    /// Whether any row has the label or is predicted to have it.
    pub fn occurs(&self, label: usize) -> bool {
        self.gold[label] + self.predicted[label] > 0
    }

    /// The Matthews correlation of any number of labels; 0 if all true labels or all predicted
    /// labels are the same. J. Gorodkin, Computational Biology and Chemistry 28 (2004).
    pub fn matthews_correlation(&self) -> f64 {
        let rows = self.rows as f64;
        let product = |a: &[u64], b: &[u64]| -> f64 {
            a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
        };
        let correct: u64 = self.correct.iter().sum();
        let covariance = correct as f64 * rows - product(&self.gold, &self.predicted);
        let gold = rows * rows - product(&self.gold, &self.gold);
        let predicted = rows * rows - product(&self.predicted, &self.predicted);
        if gold == 0.0 || predicted == 0.0 {
            return 0.0;
        }
        covariance / (gold * predicted).sqrt()
    }
}

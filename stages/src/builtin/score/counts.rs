//! A confusion matrix and the figures that follow from it, as scikit-learn defines them with
//! `zero_division=0`: a ratio of nothing to nothing is 0.

use std::collections::BTreeMap;

use serde::Serialize;

/// How often each pair of a true and a predicted label occurs. Labels are numbers in `0..labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub labels: usize,
    /// By (gold, predicted), only what occurs: many labels make a matrix of mostly nothing.
    pub cells: BTreeMap<(u16, u16), u64>,
}

/// Precision, recall and F1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

/// The sums of a confusion matrix along both sides.
#[derive(Clone, Debug)]
pub struct Margins {
    pub correct: Vec<u64>,
    pub gold: Vec<u64>,
    pub predicted: Vec<u64>,
    pub rows: u64,
}

impl Counts {
    pub fn add(&mut self, gold: u16, predicted: u16) {
        *self.cells.entry((gold, predicted)).or_default() += 1;
    }

    pub fn margins(&self) -> Margins {
        Margins::new(self.labels, self.cells.iter().map(|(&cell, &count)| (cell, count)))
    }

    /// A row for each true label, a column for each predicted one.
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
        ratio(self.correct.iter().sum(), self.rows)
    }

    /// The figures of one label.
    pub fn figures(&self, label: usize) -> Figures {
        let (correct, gold, predicted) =
            (self.correct[label], self.gold[label], self.predicted[label]);
        Figures {
            precision: ratio(correct, predicted),
            recall: ratio(correct, gold),
            f1: ratio(2 * correct, gold + predicted),
        }
    }

    /// The mean of the figures of those labels that occur, as true or as predicted ones.
    pub fn macro_average(&self) -> Figures {
        self.average(|label| f64::from(u8::from(self.occurs(label))))
    }

    /// The mean weighted by how many rows truly have each label.
    pub fn weighted_average(&self) -> Figures {
        self.average(|label| self.gold[label] as f64)
    }

    fn average(&self, weight: impl Fn(usize) -> f64) -> Figures {
        let (mut sum, mut weights) = (Figures::default(), 0.0);
        for label in 0..self.gold.len() {
            let (figures, weight) = (self.figures(label), weight(label));
            sum.precision += weight * figures.precision;
            sum.recall += weight * figures.recall;
            sum.f1 += weight * figures.f1;
            weights += weight;
        }
        if weights == 0.0 {
            return Figures::default();
        }
        Figures {
            precision: sum.precision / weights,
            recall: sum.recall / weights,
            f1: sum.f1 / weights,
        }
    }

    /// Whether a row has the label, or is predicted to.
    pub fn occurs(&self, label: usize) -> bool {
        self.gold[label] + self.predicted[label] > 0
    }

    /// The Matthews correlation of any number of labels; 0 where all true or all predicted
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

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

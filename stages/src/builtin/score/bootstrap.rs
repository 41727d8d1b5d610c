//! How far a figure could be off: percentile intervals of the bootstrap (B. Efron, 1979).
//!
//! The figures depend on the confusion matrix alone, so a replicate draws a matrix, not rows:
//! as many rows with replacement is one draw from a multinomial over the cells. That is as
//! quick for a million rows as for a thousand within a factor of ten.

use serde::Serialize;

use super::counts::{Counts, Margins};
use crate::data::random::Random;

/// Intervals `[low, high]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intervals {
    /// How much of the distribution lies within.
    pub confidence: f64,
    pub replicates: usize,
    pub accuracy: [f64; 2],
    /// Precision, recall and F1 are those of the positive label.
    pub precision: [f64; 2],
    pub recall: [f64; 2],
    pub f1: [f64; 2],
    pub macro_f1: [f64; 2],
}

/// Draws `replicates` matrices and takes the percentiles of their figures, between two
/// neighbours by proportion as numpy does. Replicate `n` depends on the seed, the input's name
/// and `n` only. The macro average is over the labels that occur in the replicate.
pub fn intervals(
    counts: &Counts,
    positive: usize,
    (replicates, confidence): (usize, f64),
    (seed, input): (u64, &str),
) -> Intervals {
    let cells: Vec<(u16, u16)> = counts.cells.keys().copied().collect();
    let observed: Vec<u64> = counts.cells.values().copied().collect();
    let before = running_sums(&observed);
    let rows = before[cells.len()];
    let purpose = format!("bootstrap {input}");
    let mut drawn = vec![0; cells.len()];
    let (mut accuracy, mut macro_f1) = (Vec::new(), Vec::new());
    let (mut precision, mut recall, mut f1) = (Vec::new(), Vec::new(), Vec::new());
    for replicate in 0..replicates {
        let mut random = Random::new(seed, &purpose, replicate as u64, 0);
        draw(&mut random, rows, &before, &mut drawn);
        let margins = Margins::new(counts.labels, cells.iter().copied().zip(drawn.iter().copied()));
        accuracy.push(margins.accuracy());
        let figures = margins.figures(positive);
        precision.push(figures.precision);
        recall.push(figures.recall);
        f1.push(figures.f1);
        macro_f1.push(margins.macro_average().f1);
    }
    Intervals {
        confidence,
        replicates,
        accuracy: percentiles(accuracy, confidence),
        precision: percentiles(precision, confidence),
        recall: percentiles(recall, confidence),
        f1: percentiles(f1, confidence),
        macro_f1: percentiles(macro_f1, confidence),
    }
}

/// The number of rows in all cells before each one, and in all.
pub fn running_sums(counts: &[u64]) -> Vec<u64> {
    let mut before = vec![0];
    for count in counts {
        before.push(before[before.len() - 1] + count);
    }
    before
}

/// A draw of `rows` from a multinomial: halves the cells and divides the rows between the two
/// halves by a binomial, and so on. `before` has one number more than there are cells.
pub fn draw(random: &mut Random, rows: u64, before: &[u64], drawn: &mut [u64]) {
    if let [only] = drawn {
        *only = rows;
        return;
    }
    let middle = drawn.len() / 2;
    let (first, last) = (before[0], before[drawn.len()]);
    let in_left = random.binomial(rows, before[middle] - first, last - first);
    let (left, right) = drawn.split_at_mut(middle);
    draw(random, in_left, &before[..=middle], left);
    draw(random, rows - in_left, &before[middle..], right);
}

/// The ends of the middle `confidence` of some values, of which there is at least one.
pub fn percentiles(mut values: Vec<f64>, confidence: f64) -> [f64; 2] {
    values.sort_unstable_by(f64::total_cmp);
    let outside = (1.0 - confidence) / 2.0;
    [outside, 1.0 - outside].map(|share| {
        let place = share * (values.len() - 1) as f64;
        let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
        below + (above - below) * place.fract()
    })
}

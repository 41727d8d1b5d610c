//! Confidence intervals of the figures: percentile intervals of the bootstrap (B. Efron, "Bootstrap
//! methods: another look at the jackknife", Annals of Statistics 7, 1979).
//!
//! The figures depend on the confusion matrix alone, so a replicate resamples the matrix, not the
//! rows: drawing as many rows with replacement is one draw from a multinomial distribution over
//! the cells. The time hardly grows with the number of rows: a million rows take less than ten
//! times as long as a thousand.

use serde::Serialize;

use super::confusion::ConfusionCounts;
use super::params::ScoreParams;
use super::power;
use crate::data::classification::Margins;
use crate::data::random::Random;

/// Intervals `[low, high]` of the figures of one input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intervals {
    /// The share of the bootstrap distribution that lies within an interval.
    pub confidence: f64,
    pub replicates: usize,
    pub accuracy: [f64; 2],
    /// Precision, recall and F1 are of the positive label, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recall: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1: Option<[f64; 2]>,
    pub macro_f1: [f64; 2],
    /// The smallest differences between two models that these rows show with 80 % power.
    pub detectable: Detectable,
}

/// See [`power::of_figure`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detectable {
    pub accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    pub macro_f1: Option<f64>,
}

/// Draws matrices and takes the percentiles of their figures. Replicate `n` depends only on the
/// seed, the name of the input and `n`. The macro average is over the labels that occur in the
/// replicate. `params.replicates` must not be 0.
pub fn intervals(
    counts: &ConfusionCounts,
    positive: Option<usize>,
    params: &ScoreParams,
    input: &str,
) -> Intervals {
    let ScoreParams { replicates, confidence, seed, .. } = *params;
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
        if let Some(positive) = positive {
            let figures = margins.figures(positive);
            precision.push(figures.precision);
            recall.push(figures.recall);
            f1.push(figures.f1);
        }
        macro_f1.push(margins.macro_average().f1);
    }
    let detectable = Detectable {
        accuracy: power::of_figure(&accuracy),
        f1: positive.and_then(|_| power::of_figure(&f1)),
        macro_f1: power::of_figure(&macro_f1),
    };
    let of_positive = |values| positive.map(|_| percentiles(values, confidence));
    Intervals {
        confidence,
        replicates,
        accuracy: percentiles(accuracy, confidence),
        precision: of_positive(precision),
        recall: of_positive(recall),
        f1: of_positive(f1),
        macro_f1: percentiles(macro_f1, confidence),
        detectable,
    }
}

/// For each cell the number of rows in the cells before it, and finally the number of all rows.
pub fn running_sums(counts: &[u64]) -> Vec<u64> {
    let mut before = vec![0];
    for count in counts {
        before.push(before[before.len() - 1] + count);
    }
    before
}

/// Draws `rows` rows from a multinomial distribution over the cells: divides the rows between the
/// two halves of the cells by a binomial draw, and recurses. `before` has the [`running_sums`] of
/// the cells, one number more than `drawn`.
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

/// The two percentiles that enclose the middle `confidence` of the values, interpolated between
/// neighbours as in numpy. `values` must not be empty.
pub fn percentiles(mut values: Vec<f64>, confidence: f64) -> [f64; 2] {
    values.sort_unstable_by(f64::total_cmp);
    let outside = (1.0 - confidence) / 2.0;
    [outside, 1.0 - outside].map(|share| {
        let place = share * (values.len() - 1) as f64;
        let (below, above) = (values[place.floor() as usize], values[place.ceil() as usize]);
        below + (above - below) * place.fract()
    })
}

//! The decision threshold: the probability above which an example is predicted to be positive.
//! `finetune` chooses the threshold that is best on the validation data and writes it to the model
//! folder; `predict` applies it.
//!
//! The figure at the chosen threshold is optimistic, since the threshold was chosen on the same
//! rows. The first two columns show by how much the figure exceeds that of the same threshold on
//! new rows; the last two, how much the chosen threshold gains on new rows over 0.5. They are means
//! over 10,000 simulated validation sets of each size, with calibrated probabilities for two
//! balanced classes (a normal logit with a standard deviation of 2.15, an accuracy of 0.79):
//!
//! | rows | F1 excess | accuracy excess | F1 gained | accuracy gained |
//! |---|---|---|---|---|
//! | 200 | 0.023 | 0.024 | +0.001 | -0.006 |
//! | 500 | 0.013 | 0.014 | +0.004 | -0.003 |
//! | 1,000 | 0.009 | 0.009 | +0.006 | -0.002 |
//!
//! At a fixed threshold the excess is 0. So report figures of other rows than those that chose the
//! threshold. For calibrated probabilities 0.5 is already the best threshold for accuracy, so
//! choosing one on few rows loses more than it gains.

use std::cmp::Ordering;

use crate::data::classification::{Fraction, f1};

/// The figure that the threshold maximizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// F1 of the positive label.
    F1,
    /// F1 of the other label.
    OtherF1,
    /// The share of rows that are predicted correctly.
    Accuracy,
}

/// One row of validation data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredRow {
    /// The probability of the positive label, 0 to 1.
    pub probability: f64,
    /// Whether the positive label is the true label.
    pub positive: bool,
}

/// The best threshold. A row is predicted positive if its probability is greater; with 0.5 that is
/// the label with the larger of two probabilities, and the first label on a tie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BestThreshold {
    pub value: f64,
    /// The objective at `value` on the rows that chose it, which is optimistic.
    pub score: f64,
    /// The objective at 0.5.
    pub score_at_half: f64,
}

/// Whether a row with this probability of the positive label is predicted positive.
pub fn is_positive(probability: f64, threshold: f64) -> bool {
    probability > threshold
}

/// Finds the threshold with the greatest objective, in O(n log n). Candidates are 0.5, the
/// midpoints between neighbouring probabilities, and the midpoints between the outermost
/// probabilities and 0 or 1. Among equally good candidates the one nearest to 0.5 is chosen, and
/// the lower of two that are equally near, so that a threshold other than 0.5 always gains
/// something. Scores are compared as exact fractions.
///
/// `None` if there are no rows, or a probability is not in 0..=1.
pub fn best_threshold(rows: &[ScoredRow], objective: Objective) -> Option<BestThreshold> {
    let valid = |row: &ScoredRow| (0.0..=1.0).contains(&row.probability);
    if rows.is_empty() || !rows.iter().all(valid) {
        return None;
    }
    let mut sorted = rows.to_vec();
    sorted.sort_unstable_by(|a, b| a.probability.total_cmp(&b.probability));
    // The first candidate lies below all rows, each further candidate above more of them.
    let mut cut = Cut::all_positive(&sorted);
    let half = at_half(&sorted, cut, objective);
    let mut best = (0.5, half);
    let mut consider = |value: f64, cut: Cut| {
        let found = cut.fraction(objective);
        let nearer = || (value - 0.5).abs() < (best.0 - 0.5_f64).abs();
        match found.compare(best.1) {
            Ordering::Greater => best = (value, found),
            Ordering::Equal if nearer() => best = (value, found),
            _ => {}
        }
    };
    let mut previous = 0.0;
    for equal in sorted.chunk_by(|a, b| a.probability == b.probability) {
        let probability = equal[0].probability;
        if previous < probability {
            consider(between(previous, probability), cut);
        }
        equal.iter().for_each(|row| cut.lower(row.positive));
        previous = probability;
    }
    consider(between(previous, 1.0), cut);
    let (value, found) = best;
    Some(BestThreshold { value, score: found.value(), score_at_half: half.value() })
}

/// The midpoint, rounded so that it is at least `low` and less than `high`.
fn between(low: f64, high: f64) -> f64 {
    let middle = low + (high - low) / 2.0;
    if middle < high { middle } else { low }
}

/// The counts at a candidate threshold.
#[derive(Clone, Copy, Debug)]
struct Cut {
    rows: u64,
    /// Rows whose true label is positive.
    gold: u64,
    /// Rows above the candidate, which are predicted positive.
    predicted: u64,
    /// Rows above the candidate whose true label is positive.
    true_positives: u64,
}

impl Cut {
    fn all_positive(rows: &[ScoredRow]) -> Cut {
        let gold = rows.iter().filter(|row| row.positive).count() as u64;
        let rows = rows.len() as u64;
        Cut { rows, gold, predicted: rows, true_positives: gold }
    }

    /// Moves the candidate above one more row.
    fn lower(&mut self, positive: bool) {
        self.predicted -= 1;
        self.true_positives -= u64::from(positive);
    }

    fn true_negatives(self) -> u64 {
        self.rows + self.true_positives - (self.gold + self.predicted)
    }

    fn fraction(self, objective: Objective) -> Fraction {
        match objective {
            Objective::F1 => f1(self.true_positives, self.gold, self.predicted),
            Objective::OtherF1 => {
                f1(self.true_negatives(), self.rows - self.gold, self.rows - self.predicted)
            }
            Objective::Accuracy => {
                Fraction { part: self.true_positives + self.true_negatives(), whole: self.rows }
            }
        }
    }
}

fn at_half(sorted: &[ScoredRow], mut cut: Cut, objective: Objective) -> Fraction {
    let below = sorted.iter().take_while(|row| !is_positive(row.probability, 0.5));
    below.for_each(|row| cut.lower(row.positive));
    cut.fraction(objective)
}

//! Precision, recall and F1. Every stage that reports them computes them here.
//!
//! For one label with TP true positives, FP false positives and FN false negatives
//! (C. J. van Rijsbergen, "Information Retrieval", 2nd edition, 1979, chapter 7):
//!
//! - precision = TP / (TP + FP)
//! - recall = TP / (TP + FN)
//! - F1 = 2·precision·recall / (precision + recall) = 2·TP / (2·TP + FP + FN)
//!
//! 0 / 0 counts as 0, as with scikit-learn's `zero_division=0`.

use std::cmp::Ordering;

use serde::Serialize;

/// A ratio of two counts; 0 / 0 is 0.
#[derive(Clone, Copy, Debug)]
pub struct Fraction {
    pub part: u64,
    pub whole: u64,
}

impl Fraction {
    /// Compares exactly, without rounding.
    pub fn compare(self, other: Fraction) -> Ordering {
        let product = |a: u64, b: u64| u128::from(a) * u128::from(b.max(1));
        product(self.part, other.whole).cmp(&product(other.part, self.whole))
    }

    pub fn value(self) -> f64 {
        self.part as f64 / self.whole.max(1) as f64
    }
}

/// The F1 of a label that `gold` rows have, `predicted` rows are predicted to have, and
/// `true_positives` rows have and are predicted to have.
pub fn f1(true_positives: u64, gold: u64, predicted: u64) -> Fraction {
    Fraction { part: 2 * true_positives, whole: gold + predicted }
}

/// F1 from a precision and a recall that are already rounded: it can differ from [`f1`] in the
/// last bit. The evaluation during training uses this form, and its figures are in `finetune`'s
/// output.
pub fn f1_of_rates(precision: f64, recall: f64) -> f64 {
    let sum = precision + recall;
    if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 }
}

/// Precision, recall and F1 of one label, or averages of these over labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ClassFigures {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
}

impl ClassFigures {
    /// The figures of one label, from the counts that [`f1`] takes.
    pub fn new(true_positives: u64, gold: u64, predicted: u64) -> ClassFigures {
        ClassFigures {
            precision: Fraction { part: true_positives, whole: predicted }.value(),
            recall: Fraction { part: true_positives, whole: gold }.value(),
            f1: f1(true_positives, gold, predicted).value(),
        }
    }
}

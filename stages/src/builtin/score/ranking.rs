//! How well probabilities rank the positive rows before the others, independent of a threshold;
//! defined as in scikit-learn.

use serde::Serialize;

use crate::data::threshold::ScoredRow;

/// The areas under the ROC curve and under the precision-recall curve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Ranking {
    /// The probability that a positive row ranks above a negative row; a tie counts one half
    /// (`roc_auc_score`). Absent if all rows are positive or all are negative.
    pub roc_auc: Option<f64>,
    /// Σ (Rₙ − Rₙ₋₁)·Pₙ over the distinct probabilities in descending order, with precision P and
    /// recall R (`average_precision_score`). Absent if no row is positive.
    pub average_precision: Option<f64>,
}

/// Ranks rows, in O(n log n).
pub fn ranking(mut rows: Vec<ScoredRow>) -> Ranking {
    rows.sort_unstable_by(|a, b| b.probability.total_cmp(&a.probability));
    let positives = rows.iter().filter(|row| row.positive).count() as u128;
    let negatives = rows.len() as u128 - positives;
    // Twice the number of pairs of a positive and a negative row in the right order.
    let mut ordered = 0_u128;
    let (mut hits, mut alarms) = (0_u128, 0_u128);
    let mut average = 0.0;
    for equal in rows.chunk_by(|a, b| a.probability == b.probability) {
        let positive = equal.iter().filter(|row| row.positive).count() as u128;
        let negative = equal.len() as u128 - positive;
        ordered += negative * (2 * hits + positive);
        hits += positive;
        alarms += negative;
        let precision = hits as f64 / (hits + alarms) as f64;
        average += positive as f64 / positives.max(1) as f64 * precision;
    }
    let pairs = 2 * positives * negatives;
    Ranking {
        roc_auc: (pairs > 0).then(|| ordered as f64 / pairs as f64),
        average_precision: (positives > 0).then_some(average),
    }
}

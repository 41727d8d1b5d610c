//! Figures of predictions with several labels a text, as scikit-learn computes them of label
//! indicator matrices: micro, macro and weighted averages, and the share of rows whose labels are
//! all right.

use crate::data::classification::{ClassFigures, Fraction, Margins};

/// Counts over rows that each have a set of true and a set of predicted labels. Sets are ascending
/// lists of the numbers of labels.
#[derive(Clone, Debug)]
pub struct MultiMargins {
    /// Of each label: the rows that have it, are predicted to have it, and both.
    pub labels: Margins,
    /// The rows whose predicted set is the true one.
    pub exact: u64,
    /// The labels of all rows that are predicted wrongly, in either direction.
    wrong: u64,
}

impl MultiMargins {
    /// Counts rows, given as a true set, a predicted set, and the number of rows with these sets.
    pub fn new<'a>(
        labels: usize,
        rows: impl Iterator<Item = (&'a [u16], &'a [u16], u64)>,
    ) -> MultiMargins {
        let mut counts =
            MultiMargins { labels: Margins::new(labels, std::iter::empty()), exact: 0, wrong: 0 };
        let margins = &mut counts.labels;
        for (gold, predicted, rows) in rows {
            margins.rows += rows;
            gold.iter().for_each(|label| margins.gold[usize::from(*label)] += rows);
            predicted.iter().for_each(|label| margins.predicted[usize::from(*label)] += rows);
            let mut both = 0;
            for label in predicted.iter().filter(|label| gold.binary_search(label).is_ok()) {
                margins.correct[usize::from(*label)] += rows;
                both += 1;
            }
            counts.exact += if gold == predicted { rows } else { 0 };
            counts.wrong += rows * (gold.len() + predicted.len() - 2 * both) as u64;
        }
        counts
    }

    /// The share of rows whose labels are all right, and no other is predicted.
    pub fn subset_accuracy(&self) -> f64 {
        Fraction { part: self.exact, whole: self.labels.rows }.value()
    }

    /// The share of wrong labels among all labels of all rows.
    pub fn hamming_loss(&self) -> f64 {
        let whole = self.labels.rows * self.labels.gold.len() as u64;
        Fraction { part: self.wrong, whole }.value()
    }

    /// The figures over the labels of all rows together.
    pub fn micro_average(&self) -> ClassFigures {
        self.labels.micro_average()
    }
}

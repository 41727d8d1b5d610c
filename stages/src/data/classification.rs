//! Precision, recall and F1. Every stage that reports them computes them here, and [`Headline`] says
//! for all of them which label they are of.
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
use std::collections::BTreeSet;

use serde::Serialize;

use crate::data::nearest::list_names;
use crate::stage::params::{Default as ParamDefault, ParamKind, ParamSpec};

/// The parameter `positive` of a stage that trains.
pub const POSITIVE: ParamSpec = ParamSpec::new(
    "positive",
    ParamKind::Text,
    ParamDefault::Null,
    "for two labels: the positive one, whose precision, recall and F1 are reported; null: the last \
     in alphabetical order; of more labels the macro averages are reported",
);

/// What precision, recall and F1 are of, where each is a single number. This is the one definition
/// of the headline during training, of baselines, in scores, sweeps and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Headline {
    /// Of the positive label, if there are at most two. The figures are named `precision`, `recall`
    /// and `f1`.
    Positive(String),
    /// The mean over the labels that occur as true or as predicted labels, if there are more than
    /// two: scikit-learn's `average="macro"`. The figures are named `macro_precision`,
    /// `macro_recall` and `macro_f1`.
    Macro,
    /// Over the labels of all rows together, where a text may have several labels: scikit-learn's
    /// `average="micro"`. The figures are named `micro_precision`, `micro_recall` and `micro_f1`.
    Micro,
}

impl Headline {
    /// The headline for these labels, whose order does not matter. The positive label is `declared`,
    /// or else the last one in alphabetical order.
    pub fn of<'a>(labels: impl IntoIterator<Item = &'a str>, declared: Option<&str>) -> Headline {
        let labels: BTreeSet<&str> = labels.into_iter().collect();
        match labels.last() {
            Some(_) if labels.len() > 2 => Headline::Macro,
            last => {
                let positive = declared.or(last.copied()).unwrap_or_default();
                Headline::Positive(positive.to_owned())
            }
        }
    }

    /// [`Headline::of`] for a stage that trains.
    ///
    /// # Errors
    /// The declared label is not one of two labels; the message suits the parameter `positive`.
    pub fn of_training(labels: &[String], declared: Option<&str>) -> Result<Headline, String> {
        let names = || labels.iter().map(String::as_str);
        let headline = Headline::of(names(), declared);
        match declared {
            Some(label) if headline == Headline::Macro => Err(format!(
                "`{label}` cannot be positive: there are {} labels, and of more than two the macro \
                 averages are reported",
                labels.len()
            )),
            Some(label) if !names().any(|name| name == label) => Err(format!(
                "there is no label `{label}`; there are {}",
                list_names(label, names())
            )),
            _ => Ok(headline),
        }
    }

    pub fn positive(&self) -> Option<&str> {
        match self {
            Headline::Positive(label) => Some(label),
            Headline::Macro | Headline::Micro => None,
        }
    }

    /// The name of a figure, which is `precision`, `recall` or `f1`.
    pub fn name(&self, figure: &str) -> String {
        match self {
            Headline::Positive(_) => figure.to_owned(),
            Headline::Macro => format!("macro_{figure}"),
            Headline::Micro => format!("micro_{figure}"),
        }
    }

    /// The figures, of labels with these names in the order of their numbers. They are 0 if the
    /// positive label is not among the names.
    pub fn figures<'a>(
        &self,
        margins: &Margins,
        mut names: impl Iterator<Item = &'a str>,
    ) -> ClassFigures {
        match self {
            Headline::Macro => margins.macro_average(),
            Headline::Micro => margins.micro_average(),
            Headline::Positive(label) => {
                let place = names.position(|name| name == label);
                place.map_or(ClassFigures::default(), |place| margins.figures(place))
            }
        }
    }

    /// A warning that no row of `rows` (in words) has the positive label, if that is so.
    pub fn warning<'a>(
        &self,
        rows: &str,
        mut labels: impl Iterator<Item = &'a str>,
    ) -> Option<String> {
        let positive = self.positive()?;
        let has_any = labels.any(|label| label == positive);
        (!has_any).then(|| {
            format!(
                "no row of {rows} has the positive label `{positive}`, so its recall and F1 are 0; \
                 the parameter `positive` names another one"
            )
        })
    }
}

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

/// The row and column sums of a confusion matrix, and its diagonal, by label.
#[derive(Clone, Debug)]
pub struct Margins {
    pub correct: Vec<u64>,
    pub gold: Vec<u64>,
    pub predicted: Vec<u64>,
    pub rows: u64,
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

    /// The mean of the figures of all labels, whether they occur or not.
    pub fn mean_over_labels(&self) -> ClassFigures {
        self.average(|_| 1.0)
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

    /// The figures over the labels of all rows together.
    pub fn micro_average(&self) -> ClassFigures {
        let sum = |counts: &[u64]| counts.iter().sum();
        ClassFigures::new(sum(&self.correct), sum(&self.gold), sum(&self.predicted))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_positive_label_does_not_depend_on_the_order_of_the_labels() {
        let of = |labels: &[&str], declared| Headline::of(labels.iter().copied(), declared);
        let positive = |label: &str| Headline::Positive(label.to_owned());
        assert_eq!(of(&["NO", "YES"], None), positive("YES"));
        assert_eq!(of(&["YES", "NO"], None), positive("YES"));
        assert_eq!(of(&["YES", "NO", "YES"], Some("NO")), positive("NO"));
        assert_eq!(of(&["b", "c", "a"], None), Headline::Macro);
        assert_eq!(of(&["b", "c", "a"], Some("a")), Headline::Macro);
        assert_eq!(Headline::Macro.name("f1"), "macro_f1");
    }

    #[test]
    fn a_positive_label_that_is_not_one_of_two_is_refused() {
        let of = |labels: &[&str], declared| {
            let labels: Vec<String> = labels.iter().map(|it| (*it).to_owned()).collect();
            Headline::of_training(&labels, declared).map_err(|problem| problem[..24].to_owned())
        };
        assert!(of(&["b", "a"], Some("a")).is_ok() && of(&["b", "c", "a"], None).is_ok());
        assert_eq!(of(&["b", "a"], Some("c")).unwrap_err(), "there is no label `c`; t");
        assert_eq!(of(&["b", "c", "a"], Some("a")).unwrap_err(), "`a` cannot be positive: ");
    }
}

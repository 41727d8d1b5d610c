//! Figures of predicted numbers: correlations and errors, as scipy and scikit-learn compute them.

use serde::Serialize;

/// The figures. A correlation is absent if all true or all predicted numbers are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RegressionFigures {
    /// `scipy.stats.pearsonr`
    pub pearson: Option<f64>,
    /// `scipy.stats.spearmanr`: Pearson's correlation of the ranks, ties having their mean rank.
    pub spearman: Option<f64>,
    /// The root of the mean squared error.
    pub rmse: f64,
    /// The mean absolute error.
    pub mae: f64,
}

/// True and predicted numbers, which are finite, with their orders, so that figures of resampled rows
/// take linear time.
#[derive(Clone, Debug, Default)]
pub struct NumberPairs {
    gold: Vec<f64>,
    predicted: Vec<f64>,
    gold_order: Vec<u32>,
    predicted_order: Vec<u32>,
}

impl NumberPairs {
    /// Pairs of a true and a predicted number.
    pub fn new(pairs: impl Iterator<Item = (f64, f64)>) -> NumberPairs {
        let (gold, predicted): (Vec<f64>, Vec<f64>) = pairs.unzip();
        let order = |values: &[f64]| {
            let mut order: Vec<u32> = (0..values.len() as u32).collect();
            order.sort_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]));
            order
        };
        let (gold_order, predicted_order) = (order(&gold), order(&predicted));
        NumberPairs { gold, predicted, gold_order, predicted_order }
    }

    pub fn len(&self) -> usize {
        self.gold.len()
    }

    pub fn is_empty(&self) -> bool {
        self.gold.is_empty()
    }

    /// Pairs of a true and a predicted number.
    pub fn iter(&self) -> impl Iterator<Item = (f64, f64)> {
        self.gold.iter().copied().zip(self.predicted.iter().copied())
    }

    /// The figures over all rows.
    pub fn figures(&self) -> RegressionFigures {
        self.figures_of(&vec![1; self.len()])
    }

    /// The figures over rows of which each occurs `counts` times.
    pub fn figures_of(&self, counts: &[u64]) -> RegressionFigures {
        let rows: f64 = counts.iter().sum::<u64>() as f64;
        let mean_of = |error: &dyn Fn(f64) -> f64| {
            let errors =
                self.iter().zip(counts).map(|((gold, it), n)| *n as f64 * error(it - gold));
            errors.sum::<f64>() / rows.max(1.0)
        };
        let ranks_of_gold = ranks(&self.gold, &self.gold_order, counts);
        let ranks_of_predicted = ranks(&self.predicted, &self.predicted_order, counts);
        RegressionFigures {
            pearson: correlation(&self.gold, &self.predicted, counts),
            spearman: correlation(&ranks_of_gold, &ranks_of_predicted, counts),
            rmse: mean_of(&|error| error * error).sqrt(),
            mae: mean_of(&f64::abs),
        }
    }
}

/// The rank of each value among values that occur `counts` times; equal values share the mean of
/// their ranks.
fn ranks(values: &[f64], order: &[u32], counts: &[u64]) -> Vec<f64> {
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0_u64;
    for equal in order.chunk_by(|a, b| values[*a as usize] == values[*b as usize]) {
        let count: u64 = equal.iter().map(|row| counts[*row as usize]).sum();
        let rank = before as f64 + (count as f64 + 1.0) / 2.0;
        equal.iter().for_each(|row| ranks[*row as usize] = rank);
        before += count;
    }
    ranks
}

/// Pearson's correlation of values that occur `counts` times; `None` if either are all the same.
fn correlation(a: &[f64], b: &[f64], counts: &[u64]) -> Option<f64> {
    let rows = counts.iter().sum::<u64>() as f64;
    let weighted =
        |values: &[f64]| values.iter().zip(counts).map(|(value, n)| value * *n as f64).sum::<f64>();
    let constant = |values: &[f64]| {
        let mut drawn = values.iter().zip(counts).filter(|(_, n)| **n > 0).map(|(it, _)| it);
        let first = drawn.next();
        drawn.all(|value| Some(value) == first)
    };
    if rows < 2.0 || constant(a) || constant(b) {
        return None;
    }
    let (mean_a, mean_b) = (weighted(a) / rows, weighted(b) / rows);
    let (mut of_a, mut of_b, mut of_both) = (0.0, 0.0, 0.0);
    for ((a, b), n) in a.iter().zip(b).zip(counts) {
        let (a, b, n) = (a - mean_a, b - mean_b, *n as f64);
        of_a += n * a * a;
        of_b += n * b * b;
        of_both += n * a * b;
    }
    // Rounding may lead beyond 1.
    let found = of_both / (of_a.sqrt() * of_b.sqrt());
    found.is_finite().then(|| found.clamp(-1.0, 1.0))
}

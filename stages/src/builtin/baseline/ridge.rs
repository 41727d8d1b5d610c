//! Linear regression with an L2 penalty, as scikit-learn's `Ridge` with `alpha` = 1/C. It minimises
//!
//! ```text
//! Σ (number − prediction)² + 1/C · Σ weight²
//! ```
//!
//! The intercept has no penalty.

use super::lbfgs::{Limits, NotFinite, Outcome, minimize};
use super::sparse::Matrix;

/// A trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    pub weights: Vec<f64>,
    pub intercept: f64,
}

const LIMITS: Limits = Limits { gradient: 1e-9, iterations: 2000 };

impl Ridge {
    /// Trains on rows and their numbers. The numbers are brought to a mean of 0 and a deviation of 1
    /// first, so that their unit does not matter to the search for the minimum.
    pub fn fit(
        rows: &Matrix,
        numbers: &[f64],
        c: f64,
        each: impl FnMut(usize),
    ) -> Result<(Ridge, Outcome), NotFinite> {
        let n = numbers.len().max(1) as f64;
        let mean = numbers.iter().sum::<f64>() / n;
        let variance = numbers.iter().map(|it| (it - mean) * (it - mean)).sum::<f64>() / n;
        let unit = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        let (width, columns) = (rows.columns(), rows.transposed());
        let mut errors = vec![0.0; numbers.len()];
        let function = |x: &[f64], gradient: &mut [f64]| -> f64 {
            rows.times(&x[..width], &mut errors);
            for (error, number) in errors.iter_mut().zip(numbers) {
                *error += x[width] - (number - mean) / unit;
            }
            columns.times(&errors, &mut gradient[..width]);
            let penalty: f64 = x[..width].iter().map(|weight| weight * weight).sum();
            for (gradient, weight) in gradient.iter_mut().zip(&x[..width]) {
                *gradient = (*gradient + weight / c) / n;
            }
            gradient[width] = errors.iter().sum::<f64>() / n;
            (errors.iter().map(|error| error * error).sum::<f64>() + penalty / c) / (2.0 * n)
        };
        let mut x = vec![0.0; width + 1];
        let outcome = minimize(&mut x, function, LIMITS, each)?;
        let weights = x[..width].iter().map(|weight| weight * unit).collect();
        Ok((Ridge { weights, intercept: mean + x[width] * unit }, outcome))
    }

    /// The predicted numbers.
    pub fn predict(&self, rows: &Matrix) -> Vec<f64> {
        let mut predicted = vec![0.0; rows.rows()];
        rows.times(&self.weights, &mut predicted);
        predicted.iter_mut().for_each(|it| *it += self.intercept);
        predicted
    }
}

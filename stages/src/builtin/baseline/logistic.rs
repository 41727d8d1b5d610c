//! Logistic regression with an L2 penalty, as scikit-learn's `LogisticRegression` with the solver
//! `lbfgs`. It minimises, over n rows,
//!
//! ```text
//! 1/n · Σ loss(row) + 1/(2·C·n) · Σ weight²
//! ```
//!
//! where the loss is −ln p of the row's class; intercepts have no penalty. Two classes share one
//! vector of weights, that of the second class, with p = 1/(1 + exp(−z)). More classes have one
//! vector each and a softmax.

use super::lbfgs::{Limits, NotFinite, Outcome, minimize};
use super::sparse::Matrix;

/// A trained model.
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    pub classes: usize,
    /// `[outputs, columns]`: one output for two classes, otherwise one per class.
    pub weights: Vec<Vec<f64>>,
    /// `[outputs]`.
    pub intercepts: Vec<f64>,
}

/// The tolerance of the gradient. It changes probabilities far less than they are printed with;
/// scikit-learn's default is 1e-4.
const GRADIENT: f64 = 1e-8;
const ITERATIONS: usize = 2000;

impl Logistic {
    /// Trains on rows and their classes `of_rows`, which are in `0..classes`. `each` is called with
    /// the number of every iteration.
    pub fn fit(
        rows: &Matrix,
        of_rows: &[usize],
        classes: usize,
        c: f64,
        each: impl FnMut(usize),
    ) -> Result<(Logistic, Outcome), NotFinite> {
        let outputs = if classes == 2 { 1 } else { classes };
        let width = rows.columns() + 1;
        let columns = rows.transposed();
        let n = rows.rows() as f64;
        let penalty = 1.0 / (c * n);
        let mut margins = vec![vec![0.0; rows.rows()]; outputs];
        let mut probabilities = vec![0.0; classes];
        let function = |x: &[f64], gradient: &mut [f64]| -> f64 {
            for (margins, x) in margins.iter_mut().zip(x.chunks(width)) {
                rows.times(&x[..width - 1], margins);
                margins.iter_mut().for_each(|it| *it += x[width - 1]);
            }
            let mut loss = 0.0;
            for (row, &class) in of_rows.iter().enumerate() {
                loss += row_loss(&margins, row, class, &mut probabilities);
                // Overwrite each margin with the derivative of the loss by it.
                for (output, margins) in margins.iter_mut().enumerate() {
                    let of = if outputs == 1 { 1 } else { output };
                    margins[row] = (probabilities[of] - f64::from(u8::from(class == of))) / n;
                }
            }
            let mut squares = 0.0;
            for (output, margins) in margins.iter().enumerate() {
                let here = output * width..(output + 1) * width - 1;
                columns.times(margins, &mut gradient[here.clone()]);
                for place in here.clone() {
                    gradient[place] += penalty * x[place];
                    squares += x[place] * x[place];
                }
                gradient[here.end] = margins.iter().sum();
            }
            loss / n + penalty / 2.0 * squares
        };
        let mut x = vec![0.0; outputs * width];
        let limits = Limits { gradient: GRADIENT, iterations: ITERATIONS };
        let outcome = minimize(&mut x, function, limits, each)?;
        let weights = x.chunks(width).map(|x| x[..width - 1].to_vec()).collect();
        let intercepts = x.chunks(width).map(|x| x[width - 1]).collect();
        Ok((Logistic { classes, weights, intercepts }, outcome))
    }

    /// The probabilities, `[rows, classes]`.
    pub fn probabilities(&self, rows: &Matrix) -> Vec<Vec<f64>> {
        let margins: Vec<Vec<f64>> = self
            .weights
            .iter()
            .zip(&self.intercepts)
            .map(|(weights, intercept)| {
                let mut margins = vec![0.0; rows.rows()];
                rows.times(weights, &mut margins);
                margins.iter_mut().for_each(|it| *it += intercept);
                margins
            })
            .collect();
        let row = |row| {
            let mut probabilities = vec![0.0; self.classes];
            row_loss(&margins, row, 0, &mut probabilities);
            probabilities
        };
        (0..rows.rows()).map(row).collect()
    }
}

/// −ln p of a row's class; writes the probabilities of all classes to `out`. `margins` is
/// `[outputs, rows]`; with a single output, the first of the two classes has the margin 0.
fn row_loss(margins: &[Vec<f64>], row: usize, class: usize, out: &mut [f64]) -> f64 {
    match margins {
        [only] => out.copy_from_slice(&[0.0, only[row]]),
        _ => out.iter_mut().zip(margins).for_each(|(out, margins)| *out = margins[row]),
    }
    softmax(out, class)
}

/// Turns margins into probabilities, in place, and returns −ln p of `class`. The result is not finite
/// if a margin is not.
pub(super) fn softmax(values: &mut [f64], class: usize) -> f64 {
    let most = values.iter().copied().fold(f64::MIN, f64::max);
    let margin = values[class] - most;
    values.iter_mut().for_each(|it| *it = (*it - most).exp());
    let sum: f64 = values.iter().sum();
    values.iter_mut().for_each(|it| *it /= sum);
    sum.ln() - margin
}

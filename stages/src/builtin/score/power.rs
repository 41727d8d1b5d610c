//! The smallest difference that a test set can show: what another model's figure must differ by, so that a
//! comparison at the level of 5 % finds it four times out of five.

/// The 97.5 % quantile of the standard normal distribution.
const LEVEL_QUANTILE: f64 = 1.959_963_984_540_054;

/// The 80 % quantile of the standard normal distribution.
pub const POWER_QUANTILE: f64 = 0.841_621_233_572_914_4;

/// The smallest difference, from the replicates of its bootstrap; `None` with fewer than two.
pub fn of_difference(replicates: &[f64]) -> Option<f64> {
    Some((LEVEL_QUANTILE + POWER_QUANTILE) * deviation(replicates)?)
}

/// The smallest difference between two models, from the replicates of the figure of one, as if their
/// errors had nothing in common. Errors on the same rows do, so a paired comparison shows less.
pub fn of_figure(replicates: &[f64]) -> Option<f64> {
    of_difference(replicates).map(|difference| std::f64::consts::SQRT_2 * difference)
}

fn deviation(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt())
}

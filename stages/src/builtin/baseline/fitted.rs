//! A trained classifier of either kind.

use super::examples::Examples;
use super::metrics::BaselineMetrics;

/// A classifier, and the metrics of its training.
pub struct Fitted {
    /// Probabilities of the examples, `[examples, classes]`.
    pub predict: Box<dyn Fn(&Examples) -> Vec<Vec<f64>>>,
    pub metrics: BaselineMetrics,
}

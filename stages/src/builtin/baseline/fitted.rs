//! A trained classifier of either kind.

use super::examples::Examples;
use super::metrics::BaselineMetrics;

/// The probability of each label, for each example.
pub type Probabilities = Vec<Vec<f64>>;

/// A classifier, and the metrics of its training.
pub struct Fitted {
    /// Probabilities of the examples, `[examples, classes]`.
    pub predict: Box<dyn Fn(&Examples) -> Probabilities>,
    pub metrics: BaselineMetrics,
}

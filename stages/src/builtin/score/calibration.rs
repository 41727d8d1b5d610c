//! Calibration: whether predicted probabilities match how often predictions are correct.

use crate::data::prediction::Prediction;

/// As in C. Guo et al., "On Calibration of Modern Neural Networks" (2017).
const BINS: usize = 15;

/// Sums over rows with a true label and probabilities.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    rows: u64,
    /// The sum over rows of Σ (p − y)² over labels; y is 1 for the true label, else 0.
    squares: f64,
    bins: [CalibrationBin; BINS],
}

#[derive(Clone, Copy, Debug, Default)]
struct CalibrationBin {
    /// Sums over the rows of the bin.
    confidence: f64,
    correct: f64,
}

impl Calibration {
    /// Adds a row with the true label `gold`; a row without probabilities is ignored.
    pub fn add(&mut self, prediction: &Prediction, gold: &str) {
        let probabilities = &prediction.probabilities;
        let Some(label) = prediction.label.label() else { return };
        let Some(&confidence) = probabilities.get(label) else { return };
        self.rows += 1;
        let errors = probabilities.iter().map(|(label, p)| match label == gold {
            true => (1.0 - p) * (1.0 - p),
            false => p * p,
        });
        self.squares +=
            errors.sum::<f64>() + f64::from(u8::from(!probabilities.contains_key(gold)));
        // Bins are (low, high] as in the paper; 0 belongs to the first.
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        self.bins[bin].confidence += confidence;
        self.bins[bin].correct += f64::from(u8::from(label == gold));
    }

    /// The Brier score: the mean over rows of Σ (p − y)². With at most two labels it is half of
    /// that, the mean of (p − y)² of one label, as scikit-learn's `brier_score_loss`.
    pub fn brier(&self, labels: usize) -> f64 {
        let mean = self.squares / self.rows.max(1) as f64;
        if labels <= 2 { mean / 2.0 } else { mean }
    }

    /// The expected calibration error: the mean over rows of |accuracy − confidence| in the bin of
    /// the row's confidence, which is the probability of the predicted label. There are 15 bins of
    /// equal width.
    pub fn expected_error(&self) -> f64 {
        let gaps = self.bins.iter().map(|bin| (bin.correct - bin.confidence).abs());
        gaps.sum::<f64>() / self.rows.max(1) as f64
    }
}

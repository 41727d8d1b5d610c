//! Whether probabilities mean what they say.

use crate::data::prediction::Prediction;

/// As many as in C. Guo et al., "On Calibration of Modern Neural Networks" (2017).
const BINS: usize = 15;

/// Sums over rows with a true label and probabilities.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    rows: u64,
    /// Of Σ (p − y)² over the labels of a row, y being 1 for the true one and 0 for others.
    squares: f64,
    bins: [Bin; BINS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    confidence: f64,
    correct: f64,
}

impl Calibration {
    pub fn add(&mut self, prediction: &Prediction, gold: &str) {
        let probabilities = &prediction.probabilities;
        let Some(&confidence) = probabilities.get(&prediction.label) else { return };
        self.rows += 1;
        let errors = probabilities.iter().map(|(label, p)| match label == gold {
            true => (1.0 - p) * (1.0 - p),
            false => p * p,
        });
        self.squares +=
            errors.sum::<f64>() + f64::from(u8::from(!probabilities.contains_key(gold)));
        // (low, high] as there; 0 belongs to the first.
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        self.bins[bin].confidence += confidence;
        self.bins[bin].correct += f64::from(u8::from(prediction.label == gold));
    }

    /// The Brier score: the mean of the squares, of two labels or fewer half of it, which is
    /// (p − y)² of either. That is scikit-learn's `brier_score_loss`.
    pub fn brier(&self, labels: usize) -> f64 {
        let mean = self.squares / self.rows.max(1) as f64;
        if labels <= 2 { mean / 2.0 } else { mean }
    }

    /// The expected calibration error: the mean over rows of |accuracy − confidence| of the bin
    /// that the row's confidence falls into. Confidence is the predicted label's probability; 15
    /// bins of equal width.
    pub fn expected_error(&self) -> f64 {
        let gaps = self.bins.iter().map(|bin| (bin.correct - bin.confidence).abs());
        gaps.sum::<f64>() / self.rows.max(1) as f64
    }
}

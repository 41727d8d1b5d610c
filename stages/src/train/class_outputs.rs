//! What a classifier gives for examples, collected from batches of their windows.

use crate::model::config::WindowPooling;

/// What a classifier gives for some rows, row-major `[rows, classes]`. All numbers are finite.
#[derive(Clone, Debug, Default)]
pub struct ClassOutputs {
    pub logits: Vec<f32>,
    pub probabilities: Vec<f32>,
}

/// The outputs of rows, from those of their windows in any order. A row of one window has the outputs
/// of the window; of several, the logits are pooled, and the probabilities are the softmax of these.
///
/// Memory grows with the rows, not with the windows.
pub struct WindowOutputs {
    pooling: WindowPooling,
    classes: usize,
    /// How many windows each row has so far.
    windows: Vec<u32>,
    /// The sums or the largest values of the logits so far, `[rows, classes]`. With 64 bits the order
    /// of the windows does not reach the result, except in the rarest cases.
    logits: Vec<f64>,
    /// Those of the first window, `[rows, classes]`.
    probabilities: Vec<f32>,
}

impl WindowOutputs {
    pub fn new(rows: usize, classes: usize, pooling: WindowPooling) -> WindowOutputs {
        WindowOutputs {
            pooling,
            classes,
            windows: vec![0; rows],
            logits: vec![0.0; rows * classes],
            probabilities: vec![0.0; rows * classes],
        }
    }

    /// Adds a batch of windows, each with the row that it is of.
    pub fn add(&mut self, rows: impl IntoIterator<Item = usize>, of: &ClassOutputs) {
        let each = of.logits.chunks(self.classes).zip(of.probabilities.chunks(self.classes));
        for (row, (logits, probabilities)) in rows.into_iter().zip(each) {
            let place = row * self.classes..(row + 1) * self.classes;
            let so_far = self.logits[place.clone()].iter_mut().zip(logits);
            match (self.windows[row], self.pooling) {
                (0, _) => {
                    so_far.for_each(|(so_far, logit)| *so_far = f64::from(*logit));
                    self.probabilities[place].copy_from_slice(probabilities);
                }
                (_, WindowPooling::Mean) => {
                    so_far.for_each(|(so_far, logit)| *so_far += f64::from(*logit));
                }
                (_, WindowPooling::Max) => {
                    so_far.for_each(|(so_far, logit)| *so_far = so_far.max(f64::from(*logit)));
                }
            }
            self.windows[row] += 1;
        }
    }

    pub fn finish(mut self) -> ClassOutputs {
        for (row, windows) in self.windows.iter().enumerate().filter(|(_, windows)| **windows > 1) {
            let place = row * self.classes..(row + 1) * self.classes;
            let logits = &mut self.logits[place.clone()];
            if self.pooling == WindowPooling::Mean {
                logits.iter_mut().for_each(|logit| *logit /= f64::from(*windows));
            }
            softmax(logits, &mut self.probabilities[place]);
        }
        let logits = self.logits.into_iter().map(|logit| logit as f32).collect();
        ClassOutputs { logits, probabilities: self.probabilities }
    }
}

fn softmax(logits: &[f64], into: &mut [f32]) {
    let most = logits.iter().copied().fold(f64::MIN, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();
    for (probability, logit) in into.iter_mut().zip(logits) {
        *probability = ((logit - most).exp() / sum) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outputs of the rows 0, 1 and 0 again.
    fn pooled(pooling: WindowPooling) -> ClassOutputs {
        let mut outputs = WindowOutputs::new(2, 2, pooling);
        let logits = vec![1.0, -0.0, 7.0, 5.0];
        outputs.add([0, 1], &ClassOutputs { logits, probabilities: vec![0.7, 0.3, 0.2, 0.8] });
        let (logits, probabilities) = (vec![-3.0, 1.0], vec![0.1, 0.9]);
        outputs.add([0], &ClassOutputs { logits, probabilities });
        outputs.finish()
    }

    #[test]
    fn the_logits_of_several_windows_are_pooled_and_those_of_one_are_kept() {
        let mean = pooled(WindowPooling::Mean);
        assert_eq!(mean.logits, [-1.0, 0.5, 7.0, 5.0]);
        let likely = 1.0 / (1.0 + f32::exp(-1.5));
        assert!((mean.probabilities[1] - likely).abs() < 1e-7, "{:?}", mean.probabilities);
        assert_eq!(mean.probabilities[2..], [0.2, 0.8], "as the device gave them");
        let max = pooled(WindowPooling::Max);
        assert_eq!(max.logits, [1.0, 1.0, 7.0, 5.0]);
        assert_eq!(max.probabilities, [0.5, 0.5, 0.2, 0.8]);
    }

    #[test]
    fn a_single_window_keeps_every_bit_of_its_logits() {
        for pooling in [WindowPooling::Mean, WindowPooling::Max] {
            let mut outputs = WindowOutputs::new(1, 2, pooling);
            let logits = vec![-0.0, 0.1];
            outputs.add([0], &ClassOutputs { logits, probabilities: vec![0.4, 0.6] });
            let found = outputs.finish();
            assert_eq!(found.logits[0].to_bits(), (-0.0_f32).to_bits());
            assert_eq!(found.logits[1].to_bits(), 0.1_f32.to_bits());
        }
    }
}

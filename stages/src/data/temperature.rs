//! Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017): logits divided by
//! one number for which the loss of the validation examples is least. The likeliest label stays the
//! same; probabilities become as certain as they are right.

/// The labels of some rows.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// The class of each row; probabilities are the softmax of the logits.
    Classes(&'a [usize]),
    /// The labels of each row, ascending; probabilities are the sigmoids of the logits.
    Sets(&'a [Vec<usize>]),
}

/// The least and the greatest temperature. Beyond them the loss has no minimum worth the name.
const BOUNDS: [f64; 2] = [0.02, 50.0];

/// The temperature with the least cross-entropy, for `logits` `[rows, classes]`. `None` if there is no
/// minimum between 0.02 and 50: all rows are right, so that the loss falls with the
/// temperature for ever, or the logits tell nothing, so that it never rises.
///
/// The loss is convex in 1 / T, so the place where its slope is 0 is bisected, to the last bit.
pub fn best_temperature(logits: &[f32], classes: usize, gold: Rows) -> Option<f64> {
    let (mut low, mut high) = (BOUNDS[1].recip(), BOUNDS[0].recip());
    let falls = |inverse: f64| slope(logits, classes, gold, inverse) < 0.0;
    if logits.is_empty() || !falls(low) || falls(high) {
        return None;
    }
    loop {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            return Some(middle.recip());
        }
        if falls(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// The derivative of the loss by the inverse temperature.
fn slope(logits: &[f32], classes: usize, gold: Rows, inverse: f64) -> f64 {
    let rows = logits.chunks(classes.max(1));
    match gold {
        Rows::Classes(gold) => {
            rows.zip(gold).map(|(row, gold)| of_class(row, *gold, inverse)).sum()
        }
        Rows::Sets(gold) => rows.zip(gold).map(|(row, gold)| of_set(row, gold, inverse)).sum(),
    }
}

/// The mean logit by the scaled probabilities, less that of the class.
fn of_class(logits: &[f32], gold: usize, inverse: f64) -> f64 {
    let most = logits.iter().copied().fold(f32::MIN, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for logit in logits {
        // Relative to the greatest logit, so that no exponential overflows.
        let above = f64::from(*logit) - f64::from(most);
        let weight = (above * inverse).exp();
        sum += weight;
        weighted += weight * above;
    }
    weighted / sum - (f64::from(logits[gold]) - f64::from(most))
}

/// Of each logit, its probability less 1 if the row has the label, times the logit.
fn of_set(logits: &[f32], gold: &[usize], inverse: f64) -> f64 {
    let of = |(label, logit): (usize, &f32)| {
        let logit = f64::from(*logit);
        let probability = (1.0 + (-logit * inverse).exp()).recip();
        let target = if gold.binary_search(&label).is_ok() { 1.0 } else { 0.0 };
        (probability - target) * logit
    };
    logits.iter().enumerate().map(of).sum()
}

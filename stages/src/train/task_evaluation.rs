//! Figures of a model on examples with several labels a text, or with numbers. Those with one label
//! are in [`evaluation`](super::evaluation).

use super::class_outputs::ClassOutputs;
use crate::data::multi_label::MultiMargins;
use crate::data::regression::NumberPairs;
use crate::data::task::Task;
use crate::data::threshold::is_positive;

/// A figure and its name, `f1` and so on.
pub type NamedFigures = Vec<(&'static str, f64)>;

impl ClassOutputs {
    /// What decisions are made by, row-major `[rows, outputs]`: probabilities that sum to 1, a
    /// probability of each label, or numbers.
    pub fn scores(self, task: Task) -> Vec<f32> {
        match task {
            Task::Single => self.probabilities,
            Task::Multi => self.logits.into_iter().map(sigmoid).collect(),
            Task::Regression => self.logits,
        }
    }
}

/// 1 / (1 + e⁻ˣ)
fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + f64::from(-logit).exp())) as f32
}

/// Binary cross-entropy, the mean over rows and labels; the share of rows whose labels are all right;
/// micro averages, and macro F1. A label is predicted if its probability exceeds 0.5. `gold` are the
/// labels of each row, ascending.
pub fn evaluate_sets(found: ClassOutputs, gold: &[Vec<usize>], labels: usize) -> NamedFigures {
    let mut loss = 0.0;
    for (logits, gold) in found.logits.chunks(labels.max(1)).zip(gold) {
        for (label, logit) in logits.iter().enumerate() {
            let has = gold.binary_search(&label).is_ok();
            // −ln σ(x), or −ln σ(−x), without overflow.
            let x = f64::from(if has { *logit } else { -*logit });
            loss += (-x).max(0.0) + (-x.abs()).exp().ln_1p();
        }
    }
    loss /= (gold.len() * labels).max(1) as f64;
    let numbers = |set: &[usize]| -> Vec<u16> { set.iter().map(|label| *label as u16).collect() };
    let likely = |values: &[f32]| -> Vec<u16> {
        let chosen = values.iter().enumerate().filter(|(_, it)| is_positive(f64::from(**it), 0.5));
        chosen.map(|(label, _)| label as u16).collect()
    };
    let scores = found.scores(Task::Multi);
    let sets: Vec<(Vec<u16>, Vec<u16>)> = gold
        .iter()
        .zip(scores.chunks(labels.max(1)))
        .map(|(gold, values)| (numbers(gold), likely(values)))
        .collect();
    let rows = sets.iter().map(|(gold, likely)| (gold.as_slice(), likely.as_slice(), 1));
    let of = MultiMargins::new(labels, rows);
    let micro = of.micro_average();
    vec![
        ("loss", loss),
        ("accuracy", of.subset_accuracy()),
        ("micro_precision", micro.precision),
        ("micro_recall", micro.recall),
        ("micro_f1", micro.f1),
        ("macro_f1", of.labels.mean_over_labels().f1),
    ]
}

/// The mean squared error, and the figures of numbers.
pub fn evaluate_numbers(found: &ClassOutputs, gold: &[f64]) -> NamedFigures {
    let predicted = found.logits.iter().map(|number| f64::from(*number));
    let of = NumberPairs::new(gold.iter().copied().zip(predicted)).figures();
    let mut figures = vec![("loss", of.rmse * of.rmse)];
    figures.extend(of.pearson.map(|it| ("pearson", it)));
    figures.extend(of.spearman.map(|it| ("spearman", it)));
    figures.extend([("rmse", of.rmse), ("mae", of.mae)]);
    figures
}

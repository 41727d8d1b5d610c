//! One prediction from those of all members.

use std::collections::BTreeMap;

use crate::data::prediction::Prediction;

/// How the label is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The highest mean probability.
    Mean,
    /// What most members predict. A member's own label is its vote, so that a decision threshold
    /// that it was given counts.
    Vote,
}

/// Combines the members' predictions of one example (at least one, all with the same labels), with
/// a weight for each. Probabilities are the weighted means whatever the method, so with
/// [`Method::Vote`] the label is not always the likeliest. Of equals it is that of the higher mean
/// probability, then the first in alphabetical order.
pub fn combine(row: &[Prediction], weights: &[f64], method: Method) -> Prediction {
    let first = &row[0];
    let sum: f64 = weights.iter().sum();
    let weighted = || row.iter().zip(weights);
    let mean = |label: &String| {
        weighted().map(|(member, weight)| weight * member.probabilities[label]).sum::<f64>() / sum
    };
    let probabilities: BTreeMap<String, f64> =
        first.probabilities.keys().map(|label| (label.clone(), mean(label))).collect();
    let votes = |label: &str| -> f64 {
        weighted().filter(|(member, _)| member.label == label).map(|(_, weight)| weight).sum()
    };
    let rank = |label: &str, mean: f64| match method {
        Method::Mean => (mean, 0.0),
        Method::Vote => (votes(label), mean),
    };
    let mut best = (&first.label, (f64::MIN, f64::MIN));
    for (label, &mean) in &probabilities {
        let found = rank(label, mean);
        if found > best.1 {
            best = (label, found);
        }
    }
    Prediction {
        id: first.id.clone(),
        label: best.0.clone(),
        gold: row.iter().find_map(|member| member.gold.clone()),
        probabilities,
    }
}

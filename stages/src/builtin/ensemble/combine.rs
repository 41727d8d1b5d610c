//! Combines the members' predictions of one example.

use std::collections::BTreeMap;

use super::params::Method;
use crate::data::prediction::Prediction;

/// Combines the members' predictions of one example, each with a weight. There is at least one
/// member, and all have the same labels. Probabilities are always the weighted means, so with
/// [`Method::Vote`] the label is not always the likeliest one. A tie goes to the higher mean
/// probability, then to the first label in alphabetical order.
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
